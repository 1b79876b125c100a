"""Settings of images that keep their aspect (`--tokens`, `--size keep`): which data and networks take them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from danlu.config import Config
from danlu.data.dataset import Dataset, ImageFiles
from danlu.message import message
from danlu.models.network_table import MODELS
from danlu.patch_grid import PatchGrid
from danlu.preparation.choices import Chooser
from danlu.refuse import NOTHING, refusal
from danlu.run.signature import Signature

KEEP_TOKENS = 1_024  # max patches of an image that keeps its size; attention grows with their square
LARGE_SIDE = (
    112  # pixels of the short side from which patches are LARGE_PATCH pixels wide, as in `models/networks/vit.py`
)
LARGE_PATCH, SMALL_PATCH = 16, 4


def grid_of(config: Config) -> PatchGrid | None:
    """The rule for the sizes of images, of a config whose settings of the data are chosen; None for one size."""
    tokens, patch = config.data.tokens, config.model.patch
    return None if tokens is None or patch is None else PatchGrid(patch, tokens, config.data.keep_size)


def sizes_of(dataset: Dataset) -> Sequence[tuple[int, int]]:
    """Heights and widths of image files in pixels; none for other inputs."""
    return dataset.inputs.sizes if isinstance(dataset.inputs, ImageFiles) else ()


def choose_mixed_sizes(chooser: Chooser, dataset: Dataset, start: Signature | None) -> None:
    """Patch, max number of patches, and the side of the table of positions, where images keep their aspect.

    start: signature of the weights to start from. Raises Refusal for data and networks that need one size.
    """
    keep = chooser["data.size"] == "keep"
    if not keep and chooser["data.tokens"] is None:
        if chooser["data.keep_size"]:
            wanted = message("preparation.wanted.tokens_with_keep", "given with data.tokens, or as --size keep")
            raise refusal("--data.keep-size", wanted, True)
        return
    _check(chooser, dataset, f"--size {chooser['data.size']}" if keep else "--tokens")
    sizes = sizes_of(dataset)
    _choose_patch(chooser, round(median(min(one) for one in sizes)), start)
    if keep:
        chooser.keep("data.keep_size", True)
        reason = message(
            "choice.tokens.keep", "images of more patches are reduced to it; set --tokens for another bound"
        )
        chooser.pick("data.tokens", KEEP_TOKENS, reason)
        chooser.keep("data.size", None)
    patch, tokens = chooser["model.patch"], chooser["data.tokens"]
    grid = PatchGrid(patch, tokens, chooser["data.keep_size"])
    typical = median(height * width / patch**2 for height, width in (grid.size(*one) for one in sizes))
    side = max(1, math.floor(math.sqrt(typical if grid.keep else tokens))) * patch
    if start is not None and start.size and chooser["model.name"] == start.model and not start.size % patch:
        side = start.size
    reason = message(
        "choice.size.positions", "side of the table of positions, which is resized to the grid of each image"
    )
    chooser.pick("data.size", side, reason)


def _choose_patch(chooser: Chooser, short: int, start: Signature | None) -> None:
    """short: median short side of the images in pixels."""
    if start is not None and "patch" in start.options:
        reason = message("choice.same_as_source", "that of {source}", source=chooser["transfer.init"])
        chooser.pick("model.patch", start.options["patch"], reason)
    reason = message("choice.patch", "the median short side is {median} px", median=short)
    chooser.pick("model.patch", LARGE_PATCH if short >= LARGE_SIDE else SMALL_PATCH, reason)


def _check(chooser: Chooser, dataset: Dataset, setting: str) -> None:
    """Refuse what needs images of one size. setting: as the user gave it."""
    name, spec = chooser["model.name"], MODELS.get(chooser["model.name"] or "")
    task = dataset.task_spec
    if task.on_canvas or task.targets == "none" or dataset.frames is not None:
        wanted = message(
            "preparation.wanted.omitted_mixed_sizes", "omitted except for classification and regression of images"
        )
        raise refusal(
            setting,
            wanted,
            message("preparation.got.clips", "clips")
            if dataset.frames is not None
            else message("preparation.got.task", "the task {task}", task=dataset.task),
        )
    if not isinstance(dataset.inputs, ImageFiles):
        do = message("preparation.do.side_of_arrays", "--size {side} resizes them", side=max(dataset.inputs.shape[-2:]))  # type: ignore[union-attr]
        wanted = message("preparation.wanted.files_mixed_sizes", "omitted for arrays, whose images have one size")
        raise refusal(setting, wanted, dataset.path, do=do)
    if spec is None or spec.mixed is None:
        suited = [other for other, one in MODELS.items() if one.mixed is not None]
        wanted = message(
            "preparation.wanted.network_mixed_sizes",
            "a network that takes images of different sizes with {setting} ({suited})",
            setting=setting,
            suited=suited,
        )
        raise refusal(
            "--model", wanted, name or NOTHING, near=[o for o, one in MODELS.items() if one.mixed is not None]
        )
    norm = chooser["model.norm"]
    if norm not in (None, "layer", "none"):
        wanted = message("models.wanted.norm_per_token", "layer or none for images of different sizes")
        raise refusal("model.norm", wanted, norm)
    if chooser["data.transform"] is not None:
        wanted = message("preparation.wanted.omitted_with", "omitted with {setting}", setting=setting)
        raise refusal("--transform", wanted, chooser["data.transform"])
