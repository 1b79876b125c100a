"""A folder of images and one of masks whose pixels hold a class: numbers, a palette, 0 and 255, or colours.

Also Pascal VOC's SegmentationClass and Cityscapes' gtFine. The class names come from a list beside the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from danlu.config import DataConfig
from danlu.data.dataset import TRAIN, UNASSIGNED, Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.image_file import UNREADABLE, ImageInfo
from danlu.data.files.survey import File, Survey, as_survey, normal
from danlu.data.image_workers import check_images
from danlu.data.label_maps import LabelMap, MaskClasses, grey_as_colours, read_values
from danlu.data.sources.labelled_images.labelled import image_files, relative
from danlu.data.sources.labelled_images.reading import stop_if_many_bad
from danlu.data.sources.masks.class_choice import (
    CITYSCAPES_MASK,
    MAX_CLASSES,
    ChosenClasses,
    choose_classes,
    ignored_values,
)
from danlu.data.sources.masks.instance_masks import CLASS_FOLDER, no_pairs
from danlu.data.sources.masks.mask_classes import ade_classes, listed_classes, nnunet_classes
from danlu.data.sources.masks.mask_files import (
    LOSSY,
    Kind,
    MaskPair,
    beside_pairs,
    kind_of_masks,
    mask_pairs,
    masks_beside_images,
    other_masks,
)
from danlu.data.sources.masks.mask_palettes import refuse_other_palettes
from danlu.data.sources.masks.segmentation_lists import in_segmentation_lists
from danlu.data.sources.tables.targets import Task
from danlu.data.split_lists import split_lists
from danlu.data.split_names import split_of_path
from danlu.message import message
from danlu.refuse import Refusal

FORM = "label masks"
OBJECT_FOLDER = "segmentationobject"
VOID = {"void", "ignore", "__ignore__", "unlabeled", "unlabelled", "unknown"}  # names of classes that are left out
CITYSCAPES_IMAGE = "_leftImg8bit"


def look(survey: Survey) -> Evidence | None:
    """Recognise masks that can only hold classes: each value in several regions, colours, or a known layout."""
    pairs = label_pairs(survey)
    if any(file.folder and normal(file.folder[-1]) == OBJECT_FOLDER for file in survey.images):
        return None  # VOC's instances, whose classes are those of the masks here: `instance_masks` reads both
    if not pairs or not (_is_known_layout(pairs) or _hold_classes(survey, pairs)):
        return None
    folder = "/".join(pairs[0].mask.folder) or "."
    seen = message(
        "data.seen.label_masks", "{count} {count:mask|masks} of classes in {folder}/", count=len(pairs), folder=folder
    )
    return Evidence(Fit.LAYOUT, seen, other_masks(survey, pairs))


def _hold_classes(survey: Survey, pairs: Sequence[MaskPair]) -> bool:
    """Return whether the pixels of the masks show classes, or a list names the classes of unclear masks."""
    kind = kind_of(survey, pairs)
    return kind in ("classes", "colours") or (
        kind == "unclear" and bool(ade_classes(survey) or nnunet_classes(survey) or listed_classes(survey)[0])
    )


def holds_classes(survey: Survey) -> bool:
    """Return whether there are masks that can be read as a class per pixel, as --task semantic needs."""
    pairs = label_pairs(survey)
    if not pairs or other_masks(survey, pairs) is not None:
        return False
    return _is_known_layout(pairs) or kind_of(survey, pairs) not in ("instances", "unreadable")


def kind_of(survey: Survey, pairs: Sequence[MaskPair]) -> Kind:
    """Kind of the masks by their pixels, determined once per survey."""
    if "kind of label masks" not in survey.memo:
        survey.memo["kind of label masks"] = kind_of_masks([pair.mask for pair in pairs])
    return survey.memo["kind of label masks"]


def label_pairs(survey: Survey) -> list[MaskPair]:
    """Pair images and masks: of Cityscapes, of VOC, of folders such as images/ and masks/, or beside each other."""
    if survey.is_file:
        return []
    if "label pairs" not in survey.memo:
        survey.memo["label pairs"] = _cityscapes_pairs(survey) or _folder_pairs(survey)
    return survey.memo["label pairs"]


def _folder_pairs(survey: Survey) -> list[MaskPair]:
    pairs = mask_pairs(survey)
    of_classes = [pair for pair in pairs if normal(pair.mask.folder[-1]) == CLASS_FOLDER]
    if of_classes:
        return of_classes
    beside = [MaskPair(a, b, split_of_path(a.folder)) for a, b in masks_beside_images(survey)] if not pairs else []
    pairs = pairs or beside
    images = {pair.image.path for pair in pairs}
    several = len(pairs) > len(images)  # a mask per object
    others = len(beside_pairs(survey, pairs))
    return pairs if pairs and not several and 2 * len(pairs) >= 0.5 * (others + 2 * len(pairs)) else []


def _cityscapes_pairs(survey: Survey) -> list[MaskPair]:
    """Images and masks of the same name, and in the same folders below leftImg8bit/ and gtFine/."""
    images = {(file.folder[-2:], file.stem.removesuffix(CITYSCAPES_IMAGE)): file for file in survey.images
              if file.stem.endswith(CITYSCAPES_IMAGE)}  # fmt: skip
    by_name = {name: file for (_, name), file in images.items()}
    unique = len(by_name) == len(images)
    found: dict[File, MaskPair] = {}
    for file in survey.images:
        match = CITYSCAPES_MASK.match(file.stem)
        image = images.get((file.folder[-2:], match[1]), by_name.get(match[1]) if unique else None) if match else None
        if match and image is not None and (match[2] or image not in found):
            found[image] = MaskPair(image, file, split_of_path((*image.folder, *file.folder)))
    return list(found.values())


def _is_known_layout(pairs: Sequence[MaskPair]) -> bool:
    mask = pairs[0].mask
    return bool(CITYSCAPES_MASK.match(mask.stem)) or normal(mask.folder[-1] if mask.folder else "") == CLASS_FOLDER


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read `ImageFiles` and a `LabelMap` for each. Raises Refusal without masks, or if too many cannot be used."""
    survey = as_survey(path)
    pairs = label_pairs(survey)
    if not pairs:
        raise no_pairs(survey)
    if kind_of(survey, pairs) == "lossy":
        raise Refusal(message("data.refuse.with_reason", "{path}: {reason}", path=survey.path, reason=LOSSY))
    notes: list[str] = []
    pairs = in_segmentation_lists(survey, pairs, notes)
    infos = check_images([pair.image.path for pair in pairs], workers=config.workers)
    values, coloured, bad = _values(pairs, infos)
    if not coloured:
        refuse_other_palettes(survey.path, [(pair.mask, values[i]) for i, pair in enumerate(pairs) if i in values])
    usable = [i for i in range(len(pairs)) if i in values]
    classes = choose_classes(survey, [pairs[i] for i in usable], [values[i] for i in usable], coloured, config, notes)
    strange = _strange_values(pairs, values, classes, config)
    bad += strange.values()
    stop_if_many_bad(survey.path, len(bad), len(pairs), bad, config)
    usable = [i for i in usable if i not in strange]
    if not usable:
        first = f" ({bad[0].where}: {bad[0].reason})" if bad else ""
        raise Refusal(
            message("data.refuse.no_mask_usable", "{path}: no mask can be used{first}", path=survey.path, first=first)
        )
    names, numbers, places = _numbering(survey, classes, config, notes)
    found = [(pairs[i], info) for i in usable if isinstance(info := infos[i], ImageInfo)]
    targets = [
        LabelMap((info.height, info.width), MaskClasses(pair.mask.path, numbers, places, classes.coloured))
        for pair, info in found
    ]
    paths = tuple(pair.image.path for pair, _ in found)
    root = survey.path if survey.path.is_dir() else survey.path.parent
    return Dataset(
        path=str(survey.path),
        format=FORM,
        task="semantic",
        inputs=image_files(paths, [info for _, info in found], config, notes),
        targets=targets,
        classes=tuple(names),
        given=_given([pair.split for pair, _ in found], survey, paths, notes),
        name_of=lambda i: relative(paths[i], root),
        problems=bad,
        notes=notes,
    )


def _strange_values(
    pairs: Sequence[MaskPair], values: dict[int, np.ndarray], classes: ChosenClasses, config: DataConfig
) -> dict[int, Problem]:
    """Problems of masks with values that are no class, by the number of the pair."""
    if classes.others_ignored:
        return {}
    known = set(classes.values)
    ignored = ignored_values(values, config, known)
    problems = {}
    for i in sorted(values):
        strange = sorted(set(values[i].tolist()) - known - ignored)
        if strange:
            shown = f"#{strange[0]:06x}" if classes.coloured else f"{strange[0]}"
            text = "the value {shown} is none of the {count} classes"
            reason = message("data.problem.value_none_classes", text, shown=shown, count=len(known))
            problems[i] = Problem(pairs[i].mask.relative, reason)
    return problems


def _numbering(
    survey: Survey, classes: ChosenClasses, config: DataConfig, notes: list[str]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the classes, the values of a mask that stand for one, sorted, and the number of the class of each.

    Values of the class to be ignored and of void classes are left out. Raises Refusal for too few or too many classes.
    """
    pairs_of = [(v, n) for v, n in zip(classes.values, classes.names) if v != config.ignore and n.lower() not in VOID]
    names = list(dict.fromkeys(name for _, name in pairs_of))
    if dropped := [name for name in classes.names if name.lower() in VOID]:
        notes.append(
            message("data.note.pixels_class_ignored", "pixels of the class {name} are ignored", name=dropped[0])
        )
    if len(names) < 2:
        raise Refusal(
            message(
                "data.refuse.masks_of_two_classes",
                "{path}: the masks must hold at least two classes, got only {names}",
                path=survey.path,
                names=", ".join(names) or "none",
            )
        )
    if len(names) > MAX_CLASSES:
        raise Refusal(
            message(
                "data.refuse.masks_of_many_classes",
                "{path}: the masks must hold at most {most} classes, got {count}",
                path=survey.path,
                most=MAX_CLASSES,
                count=len(names),
            )
        )
    table = sorted((v, names.index(n)) for v, n in pairs_of)
    return names, np.array([v for v, _ in table]), np.array([k for _, k in table], np.uint8)


def _values(
    pairs: Sequence[MaskPair], infos: Sequence[ImageInfo | str]
) -> tuple[dict[int, np.ndarray], bool, list[Problem]]:
    """Distinct values of the mask of each usable pair, by its number; whether any has colours; the unusable ones."""
    values: dict[int, np.ndarray] = {}
    colours: set[int] = set()
    bad: list[Problem] = []
    for i, (pair, info) in enumerate(zip(pairs, infos)):
        if isinstance(info, str):
            bad.append(Problem(pair.image.relative, info))
            continue
        try:
            pixels, coloured = read_values(pair.mask.path)
        except UNREADABLE as error:
            bad.append(
                Problem(pair.mask.relative, message("data.problem.cannot_read", "cannot be read: {error}", error=error))
            )
            continue
        if pixels.shape != (info.height, info.width):
            there, here = f"{pixels.shape[1]} x {pixels.shape[0]}", f"{info.width} x {info.height}"
            bad.append(
                Problem(
                    pair.mask.relative,
                    message(
                        "data.problem.mask_pixels_image",
                        "the mask is {there} pixels, its image {here}",
                        there=there,
                        here=here,
                    ),
                )
            )
            continue
        values[i] = np.unique(pixels)
        colours |= {i} if coloured else set()
    if colours:
        values = {i: v if i in colours else grey_as_colours(v) for i, v in values.items()}
    return values, bool(colours), bad


def _given(splits: list[int], survey: Survey, paths: Sequence[Path], notes: list[str]) -> torch.Tensor | None:
    if not any(split != UNASSIGNED for split in splits):
        listed = split_lists(survey, paths)
        notes += listed.notes
        splits = [listed.splits.get(path, UNASSIGNED) for path in paths] if listed.splits else splits
    given = torch.tensor(splits, dtype=torch.int8)
    return given if bool((given == TRAIN).any()) and len(given.unique()) > 1 else None
