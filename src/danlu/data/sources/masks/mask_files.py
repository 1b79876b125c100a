"""Find the mask files of images by folder and name, and recognise their kind from their pixels.

A mask may contain instance numbers, class numbers, or one value for one object or all of them. Only the pixels show
which, and not always: an ambiguous dataset is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from danlu.data.dataset import TEST, UNASSIGNED
from danlu.data.files.image_file import UNREADABLE, extensions, formats
from danlu.data.files.survey import File, Survey, normal, sample
from danlu.data.image_index import is_derived
from danlu.data.split_names import WORD, split_of, split_of_path
from danlu.message import Message, message

# Words in the name of a folder, or at the end of a file's name, that denote masks.
MASK_WORDS = ("mask", "masks", "label", "labels", "annotation", "annotations", "annot", "gt", "groundtruth", "truth")
MASK_WORDS += ("ann", "anns")
MASK_WORDS += (
    "seg",
    "segmentation",
    "segmentations",
    "instance",
    "instances",
    "semantic",
    "segmap",
    "target",
    "targets",
)
MASK_WORDS += (
    "trimap",
    "trimaps",
    "matte",
    "pedmasks",
    "segmentationobject",
    "segmentationclass",
    "labelled",
    "labeled",
)
AUGMENTED = {"aug", "augmented", "augmentation", "augmentations"}  # words in names of folders with augmented copies
CLEAR_FOLDERS = ("segmentationobject", "segmentationclass", "segmentationclassvisualization", "segmentationclasspng")
MAX_AFFIX = 16  # characters that the names of all masks have more than those of their images
MIN_OTHERS = 0.5  # images of another folder that look like masks, per mask
INSTANCE_WORDS = ("instance", "instances", "pedmasks", "segmentationobject", "object")
IMAGE_WORDS = ("image", "images", "img", "imgs", "jpegimages", "pngimages", "picture", "pictures", "photo", "photos")
IMAGE_WORDS += ("rgb", "original", "originals", "raw", "input", "inputs", "jpg", "png")
MASK_ENDING = re.compile(
    r"[ _.-]?(masks?|labels?|gt|seg(mentation)?|instances?|annotations?|lab|l|color|labelids)$", re.I
)
MASK_BESIDE = re.compile(r"[ _.-](masks?|seg|segmentation|gt|labels?|instances?)(_?\d+)?$")  # of stems beside images
MIN_SAME_STEM = 0.8  # fraction of a folder's photos with a file of the same stem, and of these that look like masks
MIN_PAIRED = 0.65  # fraction of the images that are masks or images with one, where nothing else is there
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".webp", ".jpg", ".jpeg")
JPEG_SUFFIXES = (".jpg", ".jpeg")  # of a format that changes values
MIN_SMOOTHED = 8  # values of a mask that may be smoothed
MIN_AROUND_FRACTION = 0.75  # of the masks whose corners all hold the value of an object, where it is the background
MAX_EVEN = 0.2  # fraction of the pixels between the smallest and the largest value that equal their neighbours
MAX_VALUES = 1000  # a mask with more values was saved by a lossy format
MAX_CLASS_COLOURS = 64  # max number of colours in a mask of class colours

LOSSY = message(
    "data.refuse.lossy_masks",
    "the masks were saved with loss or smoothed, so their values mean nothing: write them again as PNG, with one value "
    "per class or object and none between them",
)

Kind = Literal[
    "instances", "one object", "several objects", "classes", "unclear", "colours", "lossy", "empty", "inverted",
    "unreadable",
]  # fmt: skip


@dataclass(frozen=True)
class MaskPair:
    """An image and its mask. split: TRAIN, VAL, TEST or UNASSIGNED."""

    image: File
    mask: File
    split: int


def mask_pairs(survey: Survey, words: tuple[str, ...] = MASK_WORDS) -> list[MaskPair]:
    """Pair images and masks of the same name in folders such as images/ and masks/, at any depth."""
    return _pairs(survey, words, loose=False) or _pairs(survey, words, loose=True)


def _pairs(survey: Survey, words: tuple[str, ...], loose: bool) -> list[MaskPair]:
    masks: list[File] = []
    images: dict[tuple[tuple[str, ...], str], File] = {}
    above = len(survey.image_root)
    wrappers = _wrappers(survey, words)
    for file in survey.images:
        inside = max((len(folder) for folder in wrappers if file.folder[: len(folder)] == folder), default=above)
        if is_mask_folder(file.folder[max(above, inside) :], words) and file.suffix in MASK_SUFFIXES:
            masks.append(file)
        elif file.suffix in extensions() and not any(map(is_derived, file.folder)):
            images.setdefault((_place(file.folder, loose), normal(file.stem)), file)
    found: dict[File, File] = {}
    for mask in masks:
        place, stem = _place(mask.folder, loose), normal(mask.stem)
        plain = MASK_ENDING.sub("", stem)
        names = (stem, plain, f"{plain}_image", f"{plain}_sat")
        if (place, f"{plain}_0001") not in images:  # the only channel of nnU-Net's images
            names += (f"{plain}_0000",)
        image = next((images[place, name] for name in names if (place, name) in images), None)
        if image is not None:
            found[mask] = image
    if not found:
        found = _by_affix({mask: (_place(mask.folder, loose), normal(mask.stem)) for mask in masks}, images)
    return [MaskPair(image, mask, split_of_path((*image.folder, *mask.folder))) for mask, image in found.items()]


def beside_pairs(survey: Survey, pairs: list[MaskPair]) -> list[File]:
    """Images without a mask, which are evidence against pairs of images and masks.

    Without those of a test set that has no masks, and of folders of augmented copies.
    """
    used = {pair.image.path for pair in pairs} | {pair.mask.path for pair in pairs}
    tested = any(pair.split == TEST for pair in pairs)
    return [
        file for file in survey.images
        if file.path not in used and (tested or split_of_path(file.folder) != TEST)
        and not any(_words(part) & AUGMENTED for part in file.folder)
    ]  # fmt: skip


def _by_affix(
    masks: Mapping[File, tuple[tuple[str, ...], str]], images: Mapping[tuple[tuple[str, ...], str], File]
) -> dict[File, File]:
    """The image of each mask whose name has more than that of its image: the same text, behind it or before it, in
    nearly all masks, as 0001_P.png of CamVid. Keys of the images, and values of the masks: place and stem."""
    found: dict[tuple[str, str], dict[File, File]] = {}
    for mask, (place, stem) in masks.items():
        for at in range(1, len(stem)):
            for front, affix, rest in (("", stem[at:], stem[:at]), (stem[:at], "", stem[at:])):
                image = images.get((place, rest)) if len(front or affix) <= MAX_AFFIX else None
                if image is not None and not (front or affix).isdigit():
                    found.setdefault((front, affix), {})[mask] = image
    best = max(found.values(), key=len, default={})
    return best if len(best) >= MIN_SAME_STEM * len(masks) and len(set(best.values())) == len(best) else {}


def _wrappers(survey: Survey, words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Folders with a word for masks in their name that hold a folder of images beside one of masks."""
    found = []
    for folder in survey.folders:
        if is_mask_folder(folder[-1:], words):
            kids = [kid[-1:] for kid in survey.subfolders(folder)]
            masks = [kid for kid in kids if is_mask_folder(kid, words)]
            if masks and any(_words(kid[0]) & set(IMAGE_WORDS) for kid in kids if kid not in masks):
                found.append(folder)
    return found


def is_mask_folder(folder: tuple[str, ...], words: tuple[str, ...] = MASK_WORDS) -> bool:
    """Return whether one of the folders is called as folders of masks are."""
    named = any(_words(part) & set(words) or normal(part).endswith("annot") for part in folder)
    return named and not any(map(is_derived, folder))


def _words(name: str) -> set[str]:
    return {word.lower() for word in WORD.findall(name)} | {name.lower()}


def _place(folder: tuple[str, ...], loose: bool) -> tuple[str, ...]:
    """Remove words for image or mask from folder names: images/train and masks/train become equal.

    loose: names that contain such a word are removed but for the split: PNGImages and PedMasks become equal.
    """
    kept = []
    for part in folder:
        words = [word.lower() for word in WORD.findall(part)] or [part.lower()]
        rest = [word.removesuffix("annot") for word in words if word not in MASK_WORDS and word not in IMAGE_WORDS]
        if loose and len(rest) < len(words):
            rest = [word for word in rest if split_of(word) != UNASSIGNED]
        elif len(rest) == len(words):
            rest = [part.lower().removesuffix("annot")]
        if "".join(rest):
            kept.append("-".join(rest))
    return tuple(kept)


def other_masks(survey: Survey, pairs: list[MaskPair]) -> Message | None:
    """Why it is not clear which masks are meant: another folder beside them holds as many images that look like masks.

    Not of folders whose names say what they hold, such as SegmentationObject, and drawings of masks.
    """
    if not pairs or normal(pairs[0].mask.folder[-1] if pairs[0].mask.folder else "") in CLEAR_FOLDERS:
        return None
    beside = {pair.mask.folder[:-1] for pair in pairs} | {pair.image.folder[:-1] for pair in pairs}
    used = {pair.mask.folder for pair in pairs} | {pair.image.folder for pair in pairs}
    for folder in survey.folders:
        files = [file for file in survey.by_folder.get(folder, ()) if file.suffix in MASK_SUFFIXES]
        known = normal(folder[-1]) in CLEAR_FOLDERS or is_derived(folder[-1])
        if folder in used or folder[:-1] not in beside or known or len(files) < MIN_OTHERS * len(pairs) / len(beside):
            continue
        looked = sample(files, 8)
        if sum(looks_like_mask(file.path) is True for file in looked) >= MIN_SAME_STEM * len(looked):
            return message(
                "data.refuse.other_masks",
                "{masks}/ and {others}/ both hold images that look like masks: move those that are not meant "
                "elsewhere, or use --format instance-masks or label-masks to read {masks}/",
                masks="/".join(pairs[0].mask.folder), others="/".join(folder),
            )  # fmt: skip
    return None


def is_mask_beside(file: File) -> bool:
    """Return whether a file is called like a mask beside its image, such as a_mask.png."""
    return bool(MASK_BESIDE.search(normal(file.stem)))


def masks_beside_images(survey: Survey) -> list[tuple[File, File]]:
    """Pair images and masks in the same folder, such as a.jpg and a_mask.png."""
    found = []
    for files in survey.by_folder.values():
        stems = {normal(file.stem): file for file in files if file.suffix in extensions()}
        for file in files:
            plain = MASK_BESIDE.sub("", normal(file.stem))
            names = (plain, *(f"{plain}_{word}" for word in ("rgb", "image", "img", "sat", "photo")))
            image = next((stems[name] for name in names if name in stems), None)
            if plain != normal(file.stem) and image is not None and file.suffix in extensions():
                found.append((image, file))
    return found or _masks_by_suffix(survey)


def only_masks_beside(survey: Survey) -> Message | None:
    """Why images of no class folder are not read: half of them are masks of the others."""
    beside = masks_beside_images(survey)
    if len(beside) < 3 or 2 * len(beside) < MIN_PAIRED * len(survey.images):
        return None
    image, mask = beside[0]
    text = (
        "{count} {count:mask lies|masks lie} beside {count:its image|their images} ({mask} beside {image}): use "
        "--task semantic where their values are "
        "classes, or move them to a folder masks/ beside one of the images where they number objects"
    )
    return message("data.refuse.only_masks_beside", text, count=len(beside), mask=mask.relative, image=image.name)


def _masks_by_suffix(survey: Survey) -> list[tuple[File, File]]:
    """Pair a.jpg and a.png of one folder, where those looked at of one kind have the few values of masks."""
    found = []
    for files in survey.by_folder.values():
        photos = {normal(file.stem): file for file in files if file.suffix in (".jpg", ".jpeg")}
        masks = [file for file in files if file.suffix in (".png", ".bmp", ".gif") and normal(file.stem) in photos]
        if len(masks) < MIN_SAME_STEM * len(photos):
            continue
        if masks and sum(looks_like_mask(mask.path) is True for mask in sample(masks, 8)) >= MIN_SAME_STEM * min(
            len(masks), 8
        ):
            found += [(photos[normal(mask.stem)], mask) for mask in masks]
    return found


# --- pixels --------------------------------------------------------------------------------------------------------


def kind_of_masks(masks: list[File]) -> Kind:  # noqa: PLR0911
    """Recognise the meaning of the pixel values from a sample of masks."""
    from danlu.data.annotations import read_instances

    values: list[set[int]] = []
    around = 0  # masks whose corners hold a value, as where the background does
    parts: list[int] = []  # number of separate regions of each value of each mask
    colours = lossy = unreadable = 0
    looked = sample(masks)
    for mask in looked:
        try:
            pixels = read_instances(mask.path)
        except ValueError as error:
            colours += "colours" in str(error)
            unreadable += "colours" not in str(error)
            continue
        except UNREADABLE:
            lossy += mask.suffix in JPEG_SUFFIXES
            unreadable += mask.suffix not in JPEG_SUFFIXES
            continue
        own = np.unique(pixels)
        if len(own) > MAX_VALUES or _is_smoothed(own, pixels):
            lossy += 1
            continue
        values.append(set(own.tolist()) - {0})
        around += bool((pixels[[0, 0, -1, -1], [0, -1, 0, -1]] != 0).all() and (pixels == 0).any())
        parts += _regions(pixels, sorted(values[-1]))
    if not values:
        return "colours" if colours else "lossy" if lossy else "unreadable"
    if lossy > 0.5 * len(looked):
        return "lossy"
    every = set().union(*values)
    if not every:
        return "empty"
    if len(every) <= 1 and around > MIN_AROUND_FRACTION * len(values):
        return "inverted"
    if len(every) <= 1:
        return "several objects" if max(parts, default=1) > 1 else "one object"
    if set(_last_words(looked[0])) & set(INSTANCE_WORDS):
        return "instances"
    if sum(count > 1 for count in parts) > 0.25 * len(parts):
        return "classes"
    if not _last_words(looked[0]) & {"mask", "masks"}:
        return "unclear"  # folders named labels, gt or annotations contain classes as often as objects
    return "instances" if _are_numbered_through(values) else "unclear"


def _are_numbered_through(values: list[set[int]]) -> bool:
    """Return whether values look like instance numbers: consecutive, and more of them in some images than in others."""
    counts = Counter(value for own in values for value in own)
    common = sorted(value for value, count in counts.items() if count > 1 or len(values) < 4)
    first = sum(sorted(own) == (common or sorted(counts))[: len(own)] for own in values)
    largest = max(map(len, values))
    # Instance numbers with gaps: most images have more than half of the values up to their max.
    dense = sum(len(own) > 0.5 * (max(own, default=0) or 1) for own in values)
    return len({len(own) for own in values}) > 1 and (
        first >= 0.8 * len(values) or (largest > 8 and dense > 0.8 * len(values))
    )


def _last_words(file: File) -> set[str]:
    return set().union(*(_words(part) for part in file.folder)) if file.folder else set()


def _is_smoothed(values: np.ndarray, pixels: np.ndarray) -> bool:
    """Return whether a mask was smoothed or saved by a lossy format: many values, few of them side by side."""
    if len(values) < MIN_SMOOTHED or pixels.max() > 255:
        return False
    near = (pixels < 16) | (pixels > 239)
    between = len(values[(values > 16) & (values < 239)])
    saved = pixels.max() >= 200 and near.mean() > 0.9 and (between > 8 or len(values) > 16)
    # Classes and objects cover areas: most of their pixels equal the next one. Those between smoothed areas do not.
    inner = (pixels[:-1, :-1] > 0) & (pixels[:-1, :-1] < pixels.max())
    even = (pixels[:-1, :-1] == pixels[1:, :-1]) & (pixels[:-1, :-1] == pixels[:-1, 1:])
    return bool(saved or (inner.any() and even[inner].mean() < MAX_EVEN))


def _regions(pixels: np.ndarray, values: list[int]) -> list[int]:
    """Count the separate regions of each value, without those smaller than 2 % of the value's area."""
    from scipy import ndimage

    step = max(1, max(pixels.shape) // 512)
    pixels = pixels[::step, ::step]
    found = []
    for value in values[:200]:
        labelled: Any = ndimage.label(pixels == value, structure=np.ones((3, 3)))
        labels, _ = labelled
        sizes = np.bincount(labels.ravel())[1:]
        found.append(int((sizes > max(3, 0.02 * sizes.sum())).sum()) if len(sizes) else 0)
    return found


def looks_like_mask(path: Path) -> bool | None:
    """Return whether an image has few values, like a mask; None if it is unreadable, tiny or of one colour."""
    try:
        with Image.open(path, formats=formats()) as image:
            size = (min(image.width, 512), min(image.height, 512))
            small = image.resize(size, Image.Resampling.NEAREST)
            pixels = np.asarray(small if small.mode != "RGBA" else small.convert("RGB"))
    except UNREADABLE:
        return None
    if pixels.size < 64:
        return None
    flat = pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.reshape(-1, 1)
    distinct = len(np.unique(flat, axis=0))
    if distinct == 1:
        return None
    if distinct <= MAX_CLASS_COLOURS and distinct < 0.05 * len(flat):
        return True
    if flat.dtype != np.uint8:
        return False
    # All channels must be close to 0 or 255: a saturated colour, such as a red flower, is so in single channels only.
    return bool(((flat < 16).all(axis=1) | (flat > 239).all(axis=1)).mean() > 0.97)
