"""Splits of masks by the lists of Pascal VOC, ImageSets/Segmentation/train.txt."""

from __future__ import annotations

from danlu.data.dataset import TEST, TRAIN, VAL
from danlu.data.files.survey import Survey, normal
from danlu.data.files.text_files import read_lines
from danlu.data.sources.masks.mask_files import MaskPair
from danlu.message import message

LISTS = (("train", TRAIN), ("val", VAL), ("test", TEST), ("trainval", TRAIN))  # of ImageSets/Segmentation


def in_segmentation_lists(survey: Survey, pairs: list[MaskPair], notes: list[str]) -> list[MaskPair]:
    """The pairs with their splits by ImageSets/Segmentation, without those in no list; unchanged without lists."""
    splits: dict[tuple[tuple[str, ...], str], int] = {}  # root of the lists, and name
    lists = {(file.folder[:-2], file.name.lower()): file for file in survey.of(".txt")
             if file.folder[-2:] == ("ImageSets", "Segmentation")}  # fmt: skip
    roots = sorted({root for root, _ in lists}, key=len, reverse=True)
    for name, split in LISTS:
        for root in roots:
            file = lists.get((root, f"{name}.txt"))
            for line in read_lines(file.path) if file is not None else ():
                if line.strip():
                    splits.setdefault((root, normal(line.split()[0])), split)

    def listed(pair: MaskPair) -> tuple[tuple[str, ...], str]:
        root = next((root for root in roots if pair.mask.folder[: len(root)] == root), ())
        return root, normal(pair.mask.stem)

    kept = [MaskPair(p.image, p.mask, splits[listed(p)]) for p in pairs if listed(p) in splits]
    if not kept:
        return pairs
    if left := len(pairs) - len(kept):
        notes.append(
            message(
                "data.note.images_list_imagesets_segmentation",
                "{left} {left:image is|images are} in no list of ImageSets/Segmentation and not read",
                left=left,
            )
        )
    return kept
