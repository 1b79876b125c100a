"""Choose the classes of label masks: those of a list, of a published set, or the values that occur."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from danlu.config import DataConfig
from danlu.data.files.survey import Survey, normal
from danlu.data.label_maps import as_colours, grey_as_colours
from danlu.data.sources.masks.instance_masks import CLASS_FOLDER
from danlu.data.sources.masks.label_set_names import CITYSCAPES, CITYSCAPES_TRAIN, VOC, VOC_COLOURS
from danlu.data.sources.masks.mask_classes import ade_classes, listed_classes, nnunet_classes
from danlu.data.sources.masks.mask_files import MaskPair
from danlu.data.sources.masks.mask_palettes import refuse_colours_of_objects
from danlu.message import message
from danlu.objects import IGNORE
from danlu.refuse import Refusal

MAX_CLASSES = 255  # class numbers are bytes, and 255 marks ignored pixels
MIN_GREY_GAP = 40  # between the values of masks whose classes are grey levels
SHOWN_NAMES = 5  # in a note
MAX_COLOURS = 64  # of masks without a list of colours; more come from a lossy file
CITYSCAPES_MASK = re.compile(r"(.+)_gt(?:Fine|Coarse)_label(Train)?Ids$", re.I)


@dataclass
class ChosenClasses:
    """Names and values of the classes. coloured: values are colours. others_ignored: pixels of other values are."""

    names: list[str]
    values: list[int]
    coloured: bool = False
    others_ignored: bool = False


def choose_classes(
    survey: Survey,
    pairs: Sequence[MaskPair],
    values: Sequence[np.ndarray],
    coloured: bool,
    config: DataConfig,
    notes: list[str],
) -> ChosenClasses:
    """Names and values of the classes, from a list of names, a known data set, or the values that occur."""
    occur = sorted({v for one in values for v in one.tolist()})
    if published := _published(survey, pairs, coloured):
        return published
    names, colours = listed_classes(survey)
    if not names and (voc := _of_voc(pairs, occur, coloured, notes)):
        return voc
    if coloured:
        return ChosenClasses(names, colours, True) if colours else _colours(survey, values, occur, notes)
    if colours:
        text = "the masks hold numbers, not the colours of the list, so its rows name them in their order: {listed}"
        listed = [f"{number} {name}" for number, name in enumerate(names[:SHOWN_NAMES])]
        notes.append(message("data.note.numbers_by_rows", text, listed=listed))
    return _numbers(survey, values, occur, names, config, notes)


def _published(survey: Survey, pairs: Sequence[MaskPair], coloured: bool) -> ChosenClasses | None:
    """Classes of a set that is known by the names of its files: Cityscapes, ADE20K, or nnU-Net's dataset.json."""
    if pairs and (match := CITYSCAPES_MASK.match(pairs[0].mask.stem)):
        rows = dict(enumerate(CITYSCAPES_TRAIN)) if match[2] else CITYSCAPES
        return ChosenClasses(list(rows.values()), list(rows), others_ignored=True)
    if ade := ade_classes(survey):
        return ChosenClasses(list(ade.values()), list(ade), others_ignored=True)
    if not coloured and (numbered := nnunet_classes(survey)):
        return ChosenClasses(list(numbered.values()), list(numbered))
    return None


def _of_voc(pairs: Sequence[MaskPair], occur: Sequence[int], coloured: bool, notes: list[str]) -> ChosenClasses | None:
    """Pascal VOC's classes, for masks in its folder SegmentationClass with its numbers or colours."""
    if not pairs or normal(pairs[0].mask.folder[-1] if pairs[0].mask.folder else "") != CLASS_FOLDER:
        return None
    if all(v < len(VOC) or v == IGNORE for v in occur):
        text = "no list names the classes, so they have the names of Pascal VOC; classes.txt gives others"
        notes.append(message("data.note.names_of_voc", text))
        return ChosenClasses(list(VOC), list(range(len(VOC))))
    if coloured and set(occur) <= set(VOC_COLOURS) | {as_colours(np.array([224, 224, 192])).item()}:
        return ChosenClasses(list(VOC), list(VOC_COLOURS), True, others_ignored=True)
    return None


def _colours(survey: Survey, values: Sequence[np.ndarray], occur: list[int], notes: list[str]) -> ChosenClasses:
    """A class for each colour that occurs. Raises Refusal for too many, as where masks were saved with loss."""
    if len(occur) > MAX_COLOURS:
        raise Refusal(
            message(
                "data.refuse.masks_of_many_colours",
                "{path}: the masks have {count:,} colours, so they were saved with loss (JPEG) or smoothed: write "
                "them again as PNG, or list the colours of the classes in class_dict.csv (name,r,g,b)",
                path=survey.path,
                count=len(occur),
            )
        )
    refuse_colours_of_objects(survey.path, values)
    text = "the classes are named by their colours; class_dict.csv (name,r,g,b) beside the images names them"
    notes.append(message("data.note.classes_named_colours_class", text))
    return ChosenClasses([f"#{v:06x}" for v in occur], occur, True)


def _numbers(
    survey: Survey,
    values: Sequence[np.ndarray],
    occur: list[int],
    names: list[str],
    config: DataConfig,
    notes: list[str],
) -> ChosenClasses:
    """Classes of masks of numbers: background and object, those of a list of names, or a class for each number."""
    two = [v for v in occur if v != config.ignore]
    if len(two) == 2 and two[0] == 0 and (two[1] == IGNORE or not names):
        return ChosenClasses(names if len(names) == 2 else ["background", "object"], two)
    if names:
        return ChosenClasses(names, list(range(len(names))))
    if config.ignore is None and _are_grey_levels(occur):
        text = "the values {values} are taken as classes, 255 too; --data.ignore 255 leaves its pixels out"
        notes.append(message("data.note.grey_levels", text, values=occur))
        return ChosenClasses([str(v) for v in occur], occur)
    ignored = ignored_values(dict(enumerate(values)), config, set())
    kept = [v for v in occur if v not in ignored]
    if len(kept) > MAX_CLASSES:
        raise Refusal(
            message(
                "data.refuse.masks_of_many_values",
                "{path}: the masks have {count:,} different values: they were saved with loss, or number objects "
                "(--task segment), since class numbers are at most 254",
                path=survey.path,
                count=len(kept),
            )
        )
    return ChosenClasses([str(v) for v in kept], kept)


def _are_grey_levels(values: Sequence[int]) -> bool:
    """Return whether values are spread over the grey levels, as 0, 128, 255, so that 255 is one of the classes."""
    gaps = [b - a for a, b in pairwise(values)]
    return len(values) > 2 and values[-1] == IGNORE and min(gaps) >= MIN_GREY_GAP


def ignored_values(values: dict[int, np.ndarray], config: DataConfig, known: set[int]) -> set[int]:
    """Values of pixels without a class: that of --data.ignore, else 255; none that is a class."""
    wanted = IGNORE if config.ignore is None else config.ignore
    ignored = {wanted} | ({grey_as_colours(np.array(wanted)).item()} if 0 <= wanted < 256 else set())
    return ignored - known if config.ignore is None else ignored
