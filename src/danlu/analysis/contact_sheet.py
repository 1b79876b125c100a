"""The contact sheet of a data set: example images with their labels, boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from danlu.data.annotations import Annotation
from danlu.data.canvas import Placement
from danlu.data.clips import filmstrip
from danlu.data.dataset import Dataset, ImageFiles
from danlu.data.images import decode
from danlu.data.label_maps import BACKGROUND, LabelMap
from danlu.message import message, translated
from danlu.objects import IGNORE
from danlu.pose.cameras import project_model
from danlu.pose.drawing import landmarks
from danlu.pose.object_model import ObjectModel
from danlu.pose.rigid import RigidPoses
from danlu.refuse import blame, refusal
from danlu.report.contact_sheet import Drawn, Tile, contact_sheet, draw_annotation
from danlu.report.images import COLOURS, MASK_ALPHA, TINY_SIDE, resized, to_image, visible

if TYPE_CHECKING:
    from PIL import Image

LARGE = (240, 6, 30)  # pixels per image, columns, images
SMALL = (112, 12, 48)  # the same for images of at most `TINY_SIDE` pixels
MADE_BY = ("Software", "danlu")  # text in the file, by which an earlier sheet is known


def write_contact_sheet(out: Path, dataset: Dataset, shuffled: Tensor) -> None:
    """Write example images with their labels drawn in. shuffled: sample numbers in the order to choose from.

    Raises Refusal if the file name has no image extension, or the file cannot be written.
    """
    tiny = max(_sizes(dataset)[0]) <= TINY_SIDE
    side, columns, count = SMALL if tiny else LARGE
    tiles = [_tile(dataset, i, side) for i in _examples(dataset, shuffled, count)]
    labels = message("analysis.sheet.numbers", "numbers")
    if count_of_classes := len(dataset.classes):
        labels = message("analysis.sheet.classes", "{count} {count:class|classes}", count=count_of_classes)
    text = "{name}: {images:,} images, {labels} ({format}, {task})"
    facts = {"name": Path(dataset.path).name, "images": len(dataset), "labels": labels}
    heading = translated("analysis.sheet.heading", text, **facts, format=dataset.format, task=dataset.task)
    legend = dataset.classes if dataset.task_spec.on_canvas and len(dataset.classes) > 1 else ()
    sheet = contact_sheet(tiles, heading, legend, columns, side)
    try:
        sheet.save(out, **_made_by(out))
    except ValueError:  # PIL takes the format from the extension
        raise refusal(
            "--out",
            message("analysis.wanted.name_image_file_such", "the name of an image file, such as sheet.png"),
            str(out),
        ) from None
    except OSError as error:
        raise blame(error, f"--out {out}") from None


def default_place(data: str | Path) -> Path:
    """NAME-contact-sheet.png in the current folder; numbered where such a file is there that danlu has not written."""
    name = Path(data).expanduser().resolve().stem or "data"
    places = [Path(f"{name}-contact-sheet{number}.png") for number in ("", *(f"-{n}" for n in range(2, 100)))]
    return next((place for place in places if not place.exists() or _is_own(place)), places[-1])


def _is_own(place: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(place, formats=("PNG",)) as image:
            return image.info.get(MADE_BY[0]) == MADE_BY[1]
    except (OSError, ValueError):
        return False


def _made_by(out: Path) -> dict[str, Any]:
    from PIL.PngImagePlugin import PngInfo

    if out.suffix.lower() != ".png":
        return {}
    info = PngInfo()
    info.add_text(*MADE_BY)
    return {"pnginfo": info}


def _sizes(dataset: Dataset) -> list[tuple[int, int]]:
    """(height, width) of the first image in memory, or of the image files."""
    inputs = dataset.inputs
    if isinstance(inputs, ImageFiles):
        return [max(inputs.sizes, key=max)]
    assert isinstance(inputs, Tensor), "tables have no contact sheet"
    height, width = inputs.shape[-2:]
    return [(height, width)]


def _examples(dataset: Dataset, shuffled: Tensor, count: int) -> list[int]:
    """Samples of the contact sheet: classes take turns; images with objects or labels come before those without."""
    if dataset.task_spec.targets == "class":
        assert isinstance(dataset.targets, Tensor)
        labels = dataset.targets[shuffled]
        groups = [shuffled[labels == k].tolist() for k in range(len(dataset.classes))]
        in_turn = [group[n] for n in range(max(map(len, groups))) for group in groups if n < len(group)]
        return in_turn[:count]
    order = shuffled.tolist()
    if dataset.task_spec.has_classes:
        order.sort(key=lambda i: not _labels(dataset, i))
    return order[:count]


def _labels(dataset: Dataset, i: int) -> list[int]:
    """Classes of a sample, each once."""
    target = dataset.targets[i]
    if isinstance(target, LabelMap):
        present = np.unique(target.read())
        return [int(k) for k in present if k != IGNORE and dataset.classes[k] != BACKGROUND]
    if isinstance(target, Annotation):
        return list(dict.fromkeys(target.labels.tolist()))
    return target.nonzero().flatten().tolist() if dataset.task_spec.several_labels else [int(target)]


def _caption(dataset: Dataset, i: int) -> str:
    target = dataset.targets[i]
    if not dataset.task_spec.has_classes:
        assert isinstance(target, Tensor)
        return ", ".join(f"{value:.4g}" for value in target.tolist())
    if isinstance(target, Annotation):
        counts = {k: int((target.labels == k).sum()) for k in _labels(dataset, i)}
        return ", ".join(
            f"{count} x {dataset.classes[k]}" if count > 1 else dataset.classes[k] for k, count in counts.items()
        ) or translated("analysis.sheet.no_object", "no object")
    return ", ".join(dataset.classes[k] for k in _labels(dataset, i)) or translated(
        "analysis.sheet.no_label", "no label"
    )


def _tile(dataset: Dataset, i: int, side: int) -> Tile:
    image = _image(dataset, i, side)
    target = dataset.targets[i]
    if isinstance(target, Annotation):
        image = draw_annotation(image, _drawn(target, image.size, dataset.models), dataset.classes)
    if isinstance(target, LabelMap):
        image = _with_classes(image, target, dataset.classes)
    return Tile(image, _caption(dataset, i), dataset.name_of(i))


def _with_classes(image: Image.Image, target: LabelMap, classes: Sequence[str]) -> Image.Image:
    """The image with the colours of its classes over it; the background and ignored pixels stay as they are."""
    from PIL import Image

    width, height = image.size
    place = Placement(target.size, (height, width), (width / target.size[1], height / target.size[0]))
    labels = target.on(place)
    clear = [k for k, name in enumerate(classes) if name == BACKGROUND]
    shown = (labels != IGNORE) & ~np.isin(labels, clear)
    colours = np.array([COLOURS[k % len(COLOURS)] for k in range(256)], np.float32)[labels]
    plain = np.asarray(image.convert("RGB"), np.float32)
    mixed = np.where(shown[..., None], plain * (1 - MASK_ALPHA) + colours * MASK_ALPHA, plain)
    return Image.fromarray(mixed.round().astype(np.uint8))


def _image(dataset: Dataset, i: int, side: int) -> Image.Image:
    """The whole image, resized so that its longer side is `side`."""
    inputs = dataset.inputs
    if isinstance(inputs, Tensor):
        image = visible(inputs[i]) if dataset.frames is None else filmstrip(inputs[i], dataset.frames)
        return resized(to_image(image), side)
    assert isinstance(inputs, ImageFiles)
    return resized(decode(inputs.paths[i], window=inputs.window), side)


def _drawn(target: Annotation, size: tuple[int, int], models: Sequence[ObjectModel] = ()) -> list[Drawn]:
    """Objects on a tile of width, height `size` that shows the whole image; large ones first, to stay behind."""
    width, height = size
    place = Placement(target.size, (height, width), (width / target.size[1], height / target.size[0]))
    boxes = place.boxes(target.boxes).tolist()
    if models and target.rigid is not None:
        return _posed(target, target.rigid, place, models)
    masks = target.masks(place).numpy() if target.shapes is not None else [None] * len(boxes)
    rows = zip(target.labels.tolist(), boxes, target.ignore.tolist(), masks)
    drawn = [Drawn(label, (box[0], box[1], box[2], box[3]), ignore, mask) for label, box, ignore, mask in rows]
    return sorted(drawn, key=lambda one: (one.box[0] - one.box[2]) * (one.box[3] - one.box[1]))


def _posed(target: Annotation, rigid: RigidPoses, place: Placement, models: Sequence[ObjectModel]) -> list[Drawn]:
    """Objects with the projected points, box and axes of their models; far ones first."""
    drawn = []
    camera = place.camera(rigid.camera).double()
    boxes = place.boxes(target.boxes).tolist()
    for i in rigid.translations[:, 2].argsort(descending=True).tolist():
        label = int(target.labels[i])
        pose = rigid.rotations[i].double(), rigid.translations[i].double()
        lines, points = (
            project_model(one, *pose, camera).clamp(-1e4, 1e4).tolist()
            for one in (landmarks(models[label].box), models[label].points)
        )
        box = boxes[i]
        drawn.append(Drawn(label, (box[0], box[1], box[2], box[3]), bool(target.ignore[i]), None, lines, points))
    return drawn
