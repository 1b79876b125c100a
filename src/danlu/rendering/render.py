"""`danlu render`: training images of the meshes of a BOP folder, written as a BOP folder that danlu trains on."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ImageColor
from rich.console import Console

from danlu.message import message, translated
from danlu.progress.lines import StageLines
from danlu.progress.stages import showing, stage
from danlu.python_calls import python_names
from danlu.refuse import one_of, refusal, whole_number
from danlu.rendering.arrangement import CameraSetup
from danlu.rendering.files import SceneWriter, write_camera, write_models
from danlu.rendering.scene import render_image
from danlu.rendering.sources import Meshes, depth_range, photographs, read_camera, read_meshes
from danlu.rendering.views import Shape
from danlu.run.new_folder import filled, new_folder
from danlu.run.result import Result

POSES = ("any", "table")
MIN_SIDE, MAX_SIDE = 32, 4096  # pixels
SCENE = ("train", "000000")


@dataclass(frozen=True, eq=False, repr=False)
class Rendering(Result):
    """Result of `danlu.render`."""

    folder: str
    images: int
    objects: int  # in all images
    size: list[int]  # width, height
    depth: list[float]  # range in metres
    classes: list[str]
    coloured: list[str]  # classes with known colours

    def __repr__(self) -> str:
        return f"Rendering({self.sentence()})"

    __str__ = __repr__

    def sentence(self) -> str:
        """One line for the terminal."""
        text = (
            "{images:,} {images:image|images} of {width}x{height} px with {objects:,} {objects:object|objects} at "
            "{near:.2f} to {far:.2f} m in {folder}; {coloured} of {classes} meshes have colours"
        )
        width, height = self.size
        near, far = self.depth
        numbers = {"coloured": len(self.coloured), "classes": len(self.classes)}
        facts = {"images": self.images, "width": width, "height": height, "objects": self.objects, "near": near}
        return translated("rendering.done", text, far=far, folder=self.folder, **facts, **numbers)


@python_names()
def render(
    data: str | Path,
    *,
    out: str | Path | None = None,
    images: int | str = 2000,
    size: str | None = None,
    backgrounds: str | Path | None = None,
    depth: str | None = None,
    poses: str = "any",
    colours: str | Mapping[int, str] | None = None,
    seed: int | str = 0,
    console: Console | None = None,
) -> Rendering:
    """Render training images of meshes, with their poses and masks, into a new folder in BOP's format.

    Images depend on the arguments alone. Objects hide each other and are hidden by solids that are no objects of the
    set; lights, patterns of the background, exposure, blur and noise are random. Meshes without colours get other
    random ones in every image, so that a network learns their shape.

    Args:
        data: A folder in BOP's layout, of which the meshes and camera.json are read, and the distances in its training
            images, if it has any; or a folder with meshes (.ply or .obj) and camera.json.
        out: The new folder, by default NAME-rendered in the current one.
        images: Number of images.
        size: WIDTHxHEIGHT in pixels, by default the camera's.
        backgrounds: A folder of photographs, parts of which are the backgrounds; by default these are drawn.
        depth: NEAR,FAR in metres: range of the depth of the objects.
        poses: any: all rotations alike; table: the z axis of the meshes is up on a table that is seen from above.
        colours: Colours of meshes without any, as NUMBER=COLOUR,... with names or #rrggbb.
        seed: Of the random numbers.
        console: Where progress is shown; silent by default.

    Returns:
        The folder, with counts of what was written.

    Raises:
        Refusal: There are no meshes or no camera, a value is wrong, or `out` exists with content.
    """
    one_of("--poses", poses, POSES, message("rendering.wanted.poses", "any or table"))
    count, number = whole_number("--images", images, 1), whole_number("--seed", seed, 0)
    source = Path(data).expanduser()
    folder = new_folder(out if out is None else os.path.expanduser(out), Path(f"{source.resolve().name}-rendered"))
    meshes = _painted(read_meshes(source), colours)
    camera, sides = read_camera(source, _size(size))
    depths = _depths(depth) or depth_range(source, meshes, camera, sides)
    files = photographs(Path(backgrounds).expanduser()) if backgrounds is not None else []
    world = CameraSetup(camera, sides, depths, poses == "table")
    with filled(folder) as part, showing(StageLines(console)) if console else nullcontext():
        objects = _write(part, meshes, world, files, count, number)
    names = {number: f"obj_{number:06d}" for number in meshes.by_number}
    coloured = [names[number] for number, mesh in meshes.by_number.items() if mesh.colours is not None]
    return Rendering(
        str(folder), count, objects, [sides[1], sides[0]], [round(v, 4) for v in depths], [*names.values()], coloured
    )


def _write(part: Path, meshes: Meshes, world: CameraSetup, files: list[Path], count: int, seed: int) -> int:
    """Render all images into a folder. Returns the number of objects."""
    shapes = [Shape(mesh, mesh.diameter) for mesh in meshes.by_number.values()]
    writer = SceneWriter(part.joinpath(*SCENE), [*meshes.by_number], world.camera)
    objects = 0
    with stage(translated("stage.rendering", "rendering images"), count) as rendering:
        for i in rendering.each(range(count)):
            rendered = render_image(np.random.default_rng([seed, i]), shapes, world, files)
            writer.add(i, rendered)
            objects += len(rendered.objects)
    writer.finish()
    write_models(part / "models", meshes)
    write_camera(part / "camera.json", world.camera, world.size)
    return objects


def _size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of WIDTHxHEIGHT."""
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×*,]\s*(\d{1,5})\s*", text)
    if found is None or not all(MIN_SIDE <= int(side) <= MAX_SIDE for side in found.groups()):
        wanted = message(
            "rendering.wanted.size", "WIDTHxHEIGHT of {low} to {high} pixels, as 320x240", low=MIN_SIDE, high=MAX_SIDE
        )
        raise refusal("--size", wanted, text)
    return int(found[2]), int(found[1])


def _depths(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        near, far = (float(word) for word in text.split(","))
    except ValueError:
        near, far = math.nan, math.nan
    if not 0 < near <= far < math.inf:
        wanted = message("rendering.wanted.depth", "NEAR,FAR in metres, as 0.4,1.5")
        raise refusal("--depth", wanted, text)
    return near, far


def _painted(meshes: Meshes, colours: str | Mapping[int, str] | None) -> Meshes:
    """Give meshes the colours that the user names."""
    if colours is None:
        return meshes
    wanted = message("rendering.wanted.colours", "NUMBER=COLOUR,... such as 1=brown,9=#f0c020")
    pairs = [word.split("=") for word in colours.split(",")] if isinstance(colours, str) else [*colours.items()]
    painted = dict(meshes.by_number)
    for pair in pairs:
        try:
            number, colour = int(pair[0]), ImageColor.getrgb(str(pair[1]).strip())[:3]
        except (ValueError, IndexError):
            raise refusal("--colours", wanted, colours if isinstance(colours, str) else str(pair)) from None
        if number not in painted:
            known = message("rendering.wanted.number", "of a mesh ({numbers})", numbers=[*painted])
            raise refusal("--colours", known, number)
        mesh = painted[number]
        if mesh.colours is None:
            whole = np.tile(np.array(colour, np.float32) / 255, (len(mesh.points), 1))
            painted[number] = replace(mesh, colours=whole)
    return replace(meshes, by_number=painted)
