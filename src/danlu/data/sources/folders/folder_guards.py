"""Reasons why the folders of a set are no classes: they hold images and masks, annotations, copies or channels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import combinations, permutations

from danlu.data.dataset import TRAIN, UNASSIGNED
from danlu.data.files.survey import File, Survey, normal
from danlu.data.image_index import is_derived
from danlu.data.sources.folders.folder_groups import annotated_folders, masks_of_objects, of_programs, single_images
from danlu.data.sources.folders.same_scenes import same_scenes
from danlu.data.sources.masks.mask_files import (
    IMAGE_WORDS,
    MASK_WORDS,
    looks_like_mask,
    mask_pairs,
    masks_beside_images,
)
from danlu.data.split_names import WORD, split_of
from danlu.message import Message, message

SHARED_STEMS = 0.9  # fraction of file names that images and their masks share
MAX_COMPARED = 12  # class folders whose contents are compared with one another
SIDECARS = (".json", ".xml", ".txt", ".mat", ".npy", ".csv", ".yaml", ".pts")  # annotations named like their image
MAX_AFFIX = 16  # characters before or behind the name of an image in that of its annotation
CHANNEL_WORDS = {
    "rgb",
    "depth",
    "ir",
    "thermal",
    "nir",
    "infrared",
    "disparity",
    "normals",
    "flow",
    "lidar",
    "hr",
    "lr",
}
PART_WORDS = {"part", "parts", "batch", "fold", "shard", "chunk", *IMAGE_WORDS}  # of folders that share out one set
SPLIT_ENDINGS = ("tr", "ts")  # nnU-Net's imagesTr, imagesTs
MIN_INSIDE_FRACTION = 0.65  # fraction of the images in folders of folders, beside a few folders of results or figures
MIN_MASKS = 0.3  # fraction of images that lie in folders of masks where some do
MIN_LISTED = 3  # images that a whole json file names where it is an annotation of them

Folder = tuple[str, ...]


def image_counts(survey: Survey) -> tuple[Counter[Folder], Counter[Folder]]:
    """Images directly in each folder, and at any depth below it."""
    own: Counter[Folder] = Counter(file.folder for file in survey.images)
    below: Counter[Folder] = Counter()
    for folder, count in own.items():
        for depth in range(len(folder) + 1):
            below[folder[:depth]] += count
    return own, below


def copies_of_images(survey: Survey) -> list[Folder]:
    """Folders named like small copies or drawings of the images, which hold nothing but names of other images."""
    named = [folder for folder in survey.folders if is_derived(folder[-1]) and not any(map(is_derived, folder[:-1]))]
    found = []
    for folder in named:
        inside = set(_stems(survey, folder))
        others = {normal(file.stem) for file in survey.images if not any(map(is_derived, file.folder))}
        if inside and inside <= others:
            found.append(folder)
    return found


def repeated(survey: Survey, folders: Mapping[Folder, int]) -> dict[Folder, Folder]:
    """Folders of one split whose images, with their classes and sizes, all lie in a larger one too -> that one."""
    found: dict[Folder, Folder] = {}
    for copies, whole in permutations(folders, 2) if len(folders) <= MAX_COMPARED else ():
        if folders[copies] != folders[whole] or whole in found:
            continue
        small, large = _ends(survey, copies), _ends(survey, whole)
        same = 0 < len(small) < len(large) and small.keys() <= large.keys()
        if same and all(_bytes(small[end]) == _bytes(large[end]) for end in small):
            found[copies] = whole
    return found


def _ends(survey: Survey, folder: Folder) -> dict[Folder, File]:
    """Images below a folder by the last folder and the name: (class, file)."""
    return {file.parts[-2:]: file for file in survey.images if file.folder[: len(folder)] == folder}


def _bytes(file: File) -> int:
    try:
        return file.path.stat().st_size
    except OSError:
        return -1


def not_classes(survey: Survey, folders: list[Folder], labels_read: bool = False) -> Message | None:
    """Why these folders are no classes, although they hold images. labels_read: of a list, for some of the images."""
    return (
        masks_not_classes(survey) or (None if labels_read else annotated(survey)) or _too_high(survey, folders)
        or _parts(survey, folders) or _channels(survey, folders) or _hidden_masks(survey, folders)
        or masks_of_objects(survey, folders) or of_programs(survey, folders)
        or _copies(survey, folders) or _pairs(survey, folders) or single_images(survey, folders)
        or same_scenes(survey, folders)
    )  # fmt: skip


def masks_not_classes(survey: Survey) -> Message | None:
    """Why the folders hold images and their masks, rather than classes or clips."""
    beside = _mask_folders(survey)
    count = sum(not any(map(is_derived, file.folder)) for file in survey.images)
    if beside and sum(file.folder in beside for file in survey.images) > MIN_MASKS * count:
        masks, images = min(beside.items())
        named = {pair.mask for pair in mask_pairs(survey) if pair.mask.folder in beside}
        total = sum(file.folder in beside for file in survey.images)
        few = message("data.more.masks_named", ", but only {count} of {total} masks have the name of an image",
                      count=len(named), total=total) if 2 * len(named) < total else ""  # fmt: skip
        return message(
            "data.refuse.folder_words", "{images}/ and {masks}/ are called like folders of images and of their "
            "masks{few}; use --format folder if they are classes", images="/".join(images), masks="/".join(masks),
            few=few,
        )  # fmt: skip
    pairs = mask_pairs(survey)
    if len(pairs) > 1 and 2 * len(pairs) > 0.8 * count:
        return message(
            "data.refuse.folder_masks", "{masks}/ holds masks of the images in {images}/, named like them",
            masks="/".join(pairs[0].mask.folder), images="/".join(pairs[0].image.folder),
        )  # fmt: skip
    beside = masks_beside_images(survey)
    if len(beside) > 2 and len(beside) > 0.1 * len(survey.images):
        image, mask = beside[0]
        return message(
            "data.refuse.masks_beside",
            "{count} {count:mask lies|masks lie} beside {count:its image|their images} ({mask} beside {image}) "
            "and would be taken for samples "
            "of the class: move them to a folder masks/ beside one of the images, use --task semantic where their "
            "values are classes, or --format folder",
            count=len(beside), mask=mask.relative, image=image.name,
        )  # fmt: skip
    return None


def _mask_folders(survey: Survey) -> dict[Folder, Folder]:
    """Folders named like masks -> the folder beside each that is named like images."""
    images = {(folder[:-1], rest): folder for folder in survey.folders
              if (rest := _besides(folder[-1], IMAGE_WORDS)) is not None}  # fmt: skip
    return {folder: images[folder[:-1], rest] for folder in survey.folders
            if (rest := _besides(folder[-1], MASK_WORDS)) is not None and (folder[:-1], rest) in images}  # fmt: skip


def _besides(name: str, words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The split in a folder's name besides one of `words`: "train_masks" -> ("train",); None for other names."""
    if normal(name) in words:
        return ()
    found = [word.lower() for word in WORD.findall(name)]
    rest = tuple(word for word in found if word not in words)
    splits = all(word in SPLIT_ENDINGS or split_of(word) != UNASSIGNED for word in rest)
    return rest if splits and len(rest) < len(found) else None


def annotated(survey: Survey) -> Message | None:
    """Files named like the images, or equal to them in number: annotations in an unknown format."""
    images = len(survey.images)
    for suffix in SIDECARS:
        files = survey.of(suffix)
        named = [file for file in files if normal(file.stem) in survey.image_stems] or _nearly_named(survey, files)
        if len(named) > 0.5 * images or (len(files) > 3 and len(files) >= 0.9 * images and suffix in (".json", ".xml")):
            return message(
                "data.refuse.sidecars",
                "{count} {suffix} files (first: {first}) lie with {images} images, as annotations of a format that "
                "is not known: export them as COCO, VOC or YOLO, or write a csv with the columns image, xmin, ymin, "
                "xmax, ymax and label; where they are none, use --format folder",
                count=len(files), suffix=suffix, first=files[0].relative, images=images,
            )  # fmt: skip
    return _listed_in_json(survey) or _listed_in_text(survey) or annotated_folders(survey)


def _nearly_named(survey: Survey, files: list[File]) -> list[File]:
    """Files named like images but for one text before or behind their names, as gt_img_1.txt of img_1.jpg."""
    found: dict[str, list[File]] = {}
    for file in files:
        name = normal(file.stem)
        for at in range(1, min(MAX_AFFIX, len(name))):
            for affix, rest in ((name[:at], name[at:]), (name[-at:], name[:-at])):
                if rest in survey.image_stems and not affix.isdigit():
                    found.setdefault(affix, []).append(file)
    return max(found.values(), key=len, default=[])


def _listed_in_json(survey: Survey) -> Message | None:
    """A json file of no known kind that names the images: annotations that are cut, or of an unknown format."""
    names = {normal(file.name) for file in survey.images}
    for kind in ("broken", "other", "list"):
        for file in survey.json_kinds.get(kind, ()):
            found = set(survey.names_in(file))
            enough = min(MIN_LISTED, len(names)) if kind != "broken" else 1
            if len(found & names) >= enough and len(found & names) > 0.5 * len(found):
                return message(
                    "data.refuse.listed_in_json",
                    "{file} names the images and is cut, or json of annotations in an unknown format: export it as "
                    "COCO, or write a csv with the columns image and label, or image, xmin, ymin, xmax, ymax and "
                    "label; if it is neither, use --format folder",
                    file=file.relative,
                )  # fmt: skip
    return None


def _listed_in_text(survey: Survey) -> Message | None:
    """A text file of labels of the images, or of boxes in the lines below their names."""
    names = {normal(file.name) for file in survey.images}
    for file in survey.of(".txt"):
        found, labelled, boxes = set(), 0, 0
        for line in survey.lines(file):
            first, *rest = line.split()
            name = normal(first.rpartition("/")[2])
            if name in names or ("/" in first and name in survey.image_stems):
                found.add(name)
                labelled += bool(rest) and "/" not in first
            else:
                boxes += len(rest) > 2 and line.replace(" ", "").replace(".", "").replace("-", "").isdigit()
        if len(found) >= min(MIN_LISTED, len(names)) and max(labelled, boxes) > 0.5 * len(found):
            return message(
                "data.refuse.listed_in_text",
                "{file} lists labels or boxes of the images in an unknown form: write a csv with the columns image and "
                "label, or image, xmin, ymin, xmax, ymax and label; if it does not, use --format folder",
                file=file.relative,
            )  # fmt: skip
    return None


def _too_high(survey: Survey, folders: list[Folder]) -> Message | None:
    """Class folders that hold folders of classes themselves."""
    own, below = image_counts(survey)
    inside = {folder: _inside_single(survey, folder, own, below) for folder in folders if below[folder]}
    deep = [folder for folder, last in inside.items() if not own[last]
            and sum(below[kid] > 0 for kid in survey.subfolders(last)) > 1]  # fmt: skip
    divided = [folder for folder in folders
               if {TRAIN} < {split_of(kid[-1]) for kid in survey.subfolders(folder) if below[kid]}]  # fmt: skip
    most = sum(below[folder] for folder in deep) > MIN_INSIDE_FRACTION * sum(below[folder] for folder in folders)
    if not divided and not (deep and most) and (len(deep) < 2 or len(deep) < 0.5 * len(folders)):
        return None
    deep = divided or deep
    inner = [kid[-1] for kid in survey.subfolders(inside.get(deep[0], deep[0]))]
    return message(
        "data.refuse.too_high",
        "{folders} contain only folders ({inner}): give the folder that is the dataset, or use --format "
        "folder where each of them is a class, or --format clips where each inner folder is a clip; where the inner "
        "folders are the classes, bring those of one name together",
        folders=[f"{folder[-1]}/" for folder in deep[:4]], inner=inner[:4],
    )  # fmt: skip


def _inside_single(survey: Survey, folder: Folder, own: Counter[Folder], below: Counter[Folder]) -> Folder:
    """Descend into folders that hold a single folder of images, such as amazon/images/."""
    while not own[folder]:
        kids = [kid for kid in survey.subfolders(folder) if below[kid]]
        if len(kids) != 1:
            break
        folder = kids[0]
    return folder


def _parts(survey: Survey, folders: list[Folder]) -> Message | None:
    """Folders whose names differ in a number only, as parts of one set: images_part_1, images_part_2."""
    _, below = image_counts(survey)
    full = [folder for folder in folders if below[folder]]
    plain = {re.sub(r"\d+", "", normal(folder[-1])) for folder in full}
    if len(full) < 2 or len(plain) > 1 or not {*WORD.findall(next(iter(plain)))} & PART_WORDS:
        return None
    return message(
        "data.refuse.parts",
        "{folders} are called like parts of one set, not like classes; use --format folder if they are classes",
        folders=[f"{folder[-1]}/" for folder in full[:4]],
    )  # fmt: skip


def _channels(survey: Survey, folders: list[Folder]) -> Message | None:
    named = [folder for folder in folders if {word.lower() for word in WORD.findall(folder[-1])} & CHANNEL_WORDS]
    for first, second in combinations(named[:MAX_COMPARED], 2):
        one, two = set(_stems(survey, first)), set(_stems(survey, second))
        if one and len(one & two) >= SHARED_STEMS * max(len(one), len(two)):
            return message(
                "data.refuse.channels",
                "{first}/ and {second}/ contain the same file names, as channels of one image, which are not read from "
                "two files; use --format folder if they are classes",
                first=first[-1], second=second[-1],
            )  # fmt: skip
    return None


def _hidden_masks(survey: Survey, folders: list[Folder]) -> Message | None:
    """Two folders whose files share their names, where those of one have the few values of masks."""
    if len(folders) > MAX_COMPARED:
        return None
    stems = {folder: _stems(survey, folder) for folder in folders}
    for first, second in combinations(folders, 2):
        if not _shared(stems[first], stems[second]):
            continue
        names = sorted(set(stems[first]) & set(stems[second]))[:8]
        kinds = [[looks_like_mask(stems[folder][name].path) for name in names] for folder in (first, second)]
        flat = [sum(kind is True for kind in own) for own in kinds]
        if min(flat) == 0 and max(flat) >= 0.75 * len(names):
            masks, images = (first, second) if flat[0] else (second, first)
            return message(
                "data.refuse.hidden_masks",
                "{masks}/ and {images}/ contain the same file names, and those of {masks}/ look like masks of those of "
                "{images}/; use --format folder if they are classes",
                masks=masks[-1], images=images[-1],
            )  # fmt: skip
    return None


def _copies(survey: Survey, folders: list[Folder]) -> Message | None:
    """A folder that holds the names of all images of two or more others, which share none among themselves."""
    stems = {folder: own for folder in folders if (own := set(_stems(survey, folder)))}
    if len(stems) == 2:
        return _nested_copies(survey, stems)
    if len(stems) < 3:
        return None
    count = Counter(name for own in stems.values() for name in own)
    for folder, own in stems.items():
        others = Counter(count) - Counter(own)
        shared = len(own & set(others))
        if shared == len(own) > 2 and shared >= SHARED_STEMS * len(others) and max(others.values()) == 1:
            return _copies_of(folder)
    return None


def _nested_copies(survey: Survey, stems: dict[Folder, set[str]]) -> Message | None:
    """A folder that holds the names of all images of another one: of images/, or of one with several folders."""
    for copies, originals in permutations(stems):
        if normal(originals[-1]) in IMAGE_WORDS and stems[copies] == stems[originals]:
            return _copies_of(copies)
    for flat, nested in permutations(stems):
        places = {file.folder for file in survey.images if file.folder[: len(nested)] == nested}
        same = len(stems[flat] & stems[nested]) >= SHARED_STEMS * max(len(stems[flat]), len(stems[nested]))
        if same and len(places) > 1 and nested not in places and flat in {file.folder for file in survey.images}:
            return _copies_of(flat)
    return None


def _pairs(survey: Survey, folders: list[Folder]) -> Message | None:
    """Two folders whose names differ in one ending only, as HR/0801.png and LR/0801x4.png."""
    stems = [(folder, own) for folder in folders if (own := set(_stems(survey, folder)))]
    if len(stems) != 2:
        return None
    for (first, plain), (second, longer) in permutations(stems):
        name = min(longer)
        endings = {name[len(stem) :] for stem in plain if name.startswith(stem)} - {""}
        for ending in sorted(endings):
            shared = sum(stem + ending in longer for stem in plain)
            if shared > 2 and shared >= SHARED_STEMS * max(len(plain), len(longer)):
                return message(
                    "data.refuse.pairs",
                    "the names in {second}/ are those in {first}/ with {ending} behind them, as of pairs of images, "
                    "which are not read; use --format folder if these folders are classes",
                    first=first[-1], second=second[-1], ending=repr(ending),
                )  # fmt: skip
    return None


def _copies_of(folder: Folder) -> Message:
    return message(
        "data.refuse.copies",
        "{folder}/ holds the names of the images in the other folders, as copies of them: move it elsewhere, "
        "or use --format folder if it is a class",
        folder=folder[-1],
    )  # fmt: skip


def _stems(survey: Survey, folder: Folder) -> dict[str, File]:
    return {normal(file.stem): file for file in survey.images if file.folder[: len(folder)] == folder}


def _shared(first: dict[str, File], second: dict[str, File]) -> bool:
    shared = len(set(first) & set(second))
    return shared > 2 and shared >= SHARED_STEMS * max(len(first), len(second))
