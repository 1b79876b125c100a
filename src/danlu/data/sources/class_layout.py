"""Layout of class folders: which folders are classes, of which split, and what beside them is not read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from danlu.data.dataset import TRAIN, UNASSIGNED
from danlu.data.sources.folder_guards import Folder, copies_of_images, image_counts, repeated
from danlu.data.sources.mask_files import IMAGE_WORDS
from danlu.data.sources.split_labels import listed_classes
from danlu.data.sources.unread_labels import advice_on_labels
from danlu.data.split_names import split_of
from danlu.data.survey import File, Survey, normal
from danlu.message import Message, message

NO_LABEL = {"unknown", "unlabelled", "unlabeled", "none", "all", "no_label", *IMAGE_WORDS}  # folders of no class
RESULTS = {"plots", "figures", "pred", "preds", "predictions", "outputs", "checkpoints", "runs"}  # of no class
NO_CLASS = {*IMAGE_WORDS, "data"}  # names of a folder of all images


@dataclass
class ClassLayout:
    """Layout of the class folders.

    classes: (class folder, split). notes: about files that are not read. refuse: reason to refuse the whole folder.
    """

    classes: list[tuple[Folder, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refuse: Message | None = None
    unlabelled: tuple[int, ...] = ()  # splits of images without class folders
    refuse_list: Message | None = None  # why a list of the classes of further images cannot be used
    listed: dict[File, tuple[str, int]] = field(default_factory=dict)  # class and split of images that a list names


def class_layout(survey: Survey) -> ClassLayout:
    """The class folders: below a training set's folder where there is one, else at the top."""
    own, below = image_counts(survey)
    children: dict[Folder, list[Folder]] = {}
    for folder in survey.folders:
        children.setdefault(folder[:-1], []).append(folder)
    layout = ClassLayout()
    for folder in copies_of_images(survey):
        layout.notes.append(
            message(
                "data.note.images_read_small_copies",
                "the {count} {count:image|images} of {folder}/ {count:is|are} not read: small copies or drawings "
                "of others",
                count=below[folder],
                folder="/".join(folder),
            )
        )
        children[folder[:-1]].remove(folder)
        count = below[folder]
        for depth in range(len(folder) + 1):
            below[folder[:depth]] -= count
    top = _inside_wrappers((), own, below, children)
    kids = children.get(top, [])
    if top:
        layout.notes.append(
            message(
                "data.note.read_only_folder_images",
                "read from {folder}/, the only folder of images",
                folder="/".join(top),
            )
        )
    splits = {kid: split_of(kid[-1]) for kid in kids}
    containers = [kid for kid in kids if splits[kid] != UNASSIGNED and not own[kid] and below[kid]]
    for kid, whole in repeated(survey, {one: splits[one] for one in containers}).items():
        layout.notes.append(
            message(
                "data.note.images_read_copies",
                "the {count} {count:image|images} of {folder}/ {count:is|are} not read: copies of those in "
                "{originals}/",
                count=below[kid],
                folder="/".join(kid),
                originals="/".join(whole),
            )
        )
        containers.remove(kid)
        kids = [one for one in kids if one != kid]
    if loose := sum(own[top[:depth]] for depth in range(len(top) + 1)):
        layout.notes.append(
            message(
                "data.note.images_outside_class_folders",
                "{count} {count:image|images} outside the class folders {count:is|are} not read",
                count=loose,
            )
        )
    if not containers:
        kids = _without_other_folders(layout, kids, own, below, children)
        layout.classes = [(kid, TRAIN) for kid in kids]
        with_images = [kid for kid in kids if below[kid]]
        named = {splits[kid] for kid in with_images if own[kid]} - {UNASSIGNED}
        no_class = len(with_images) == 1 and normal(with_images[0][-1]) in NO_CLASS
        if with_images and (no_class or all(splits[kid] != UNASSIGNED for kid in with_images) or {TRAIN} < named):
            layout.refuse = message(
                "data.refuse.no_class_folders",
                "{folders} contain images, but neither class folders nor a file with labels in a known format; "
                "{advice}", folders=[f"{kid[-1]}/" for kid in with_images], advice=advice_on_labels(survey),
            )  # fmt: skip
        if not with_images:
            layout.classes = []
        return layout
    training = [_inside_wrappers(kid, own, below, children) for kid in containers if splits[kid] == TRAIN]
    trained = {folder[-1] for inner in training for folder in children.get(inner, ())}
    if not training and (unnamed := _like_splits(kids, containers, children)):
        layout.refuse = message(
            "data.refuse.split_without_name",
            "{unnamed}/ has the class folders of {named}/, but its name is not that of a split; rename it to train",
            unnamed=unnamed[-1], named=containers[0][-1],
        )  # fmt: skip
        return layout
    for kid in kids:
        if splits[kid] == UNASSIGNED:
            layout.notes.append(
                message(
                    "data.note.read_name_neither_train",
                    "{folder}/ is not read: its name is neither train, val nor test",
                    folder="/".join(kid),
                )
            )
        elif kid in containers:
            inner = _inside_wrappers(kid, own, below, children)
            found = [(folder, splits[kid]) for folder in children.get(inner, ())]
            if len(found) == 1 and splits[kid] != TRAIN and _no_label(found[0][0][-1], trained):
                layout.unlabelled += (splits[kid],)
                layout.notes.append(
                    message(
                        "data.note.folder_of_no_class",
                        "the {count} {count:image|images} of {folder}/ {count:lies|lie} in {outer}/, which is no "
                        "class of the "
                        "training set: used for prediction, not read",
                        count=below[kid],
                        folder="/".join(kid),
                        outer=found[0][0][-1],
                    )
                )
                continue
            layout.classes += found
            if own[inner]:
                layout.notes.append(
                    message(
                        "data.note.images_outside_of",
                        "{count} {count:image|images} of {folder}/ outside the class folders {count:is|are} not read",
                        count=own[inner],
                        folder="/".join(inner),
                    )
                )
        elif below[kid]:
            _without_class_folders(survey, layout, kid, splits[kid], trained, below[kid])
    return layout


def _without_other_folders(
    layout: ClassLayout,
    kids: list[Folder],
    own: Counter[Folder],
    below: Counter[Folder],
    children: dict[Folder, list[Folder]],
) -> list[Folder]:
    """The class folders without those of results or figures, and those that hold folders of the same classes again."""
    classes = {kid[-1] for kid in kids if own[kid] and normal(kid[-1]) not in RESULTS}
    if len(classes) < 2:
        return kids
    kept = []
    for kid in kids:
        inside = {one[-1] for one in children.get(kid, ()) if below[one]}
        if own[kid] and normal(kid[-1]) in RESULTS:
            text = (
                "the {count} {count:image|images} of {folder}/ {count:is|are} not read: it is called like a "
                "folder of results, not like a class"
            )
            layout.notes.append(message("data.note.folder_of_results", text, count=below[kid], folder="/".join(kid)))
        elif not own[kid] and inside and inside <= classes:
            text = (
                "the {count} {count:image|images} of {folder}/ {count:is|are} not read: it holds folders of the "
                "same classes again ({inside})"
            )
            layout.notes.append(message("data.note.same_classes_again", text, count=below[kid], folder="/".join(kid),
                                        inside=sorted(inside)))  # fmt: skip
        else:
            kept.append(kid)
    return kept


def _without_class_folders(
    survey: Survey, layout: ClassLayout, folder: Folder, split: int, trained: set[str], count: int
) -> None:
    """Add the images of a split without class folders: with their classes if a list names them, else as unlabelled."""
    found = listed_classes(survey, folder, split, trained)
    layout.listed |= {file: (name, split) for file, name in found.classes.items()}
    layout.notes += [found.note] if found.note else []
    layout.refuse_list = layout.refuse_list or found.refuse
    if not found.classes:
        layout.unlabelled += (split,)
        text = (
            "the {count} {count:image|images} of {folder}/ {count:has|have} no class folder: used for "
            "prediction, not read"
        )
        layout.notes.append(message("data.note.without_class_folder", text, count=count, folder="/".join(folder)))


def _like_splits(kids: list[Folder], containers: list[Folder], children: dict[Folder, list[Folder]]) -> Folder | None:
    """The first other folder that has a class folder of a split, as entrainement/ beside test/."""
    inner = {folder[-1] for one in containers for folder in children.get(one, ())}
    others = (kid for kid in kids if kid not in containers)
    return next((kid for kid in others if inner & {folder[-1] for folder in children.get(kid, ())}), None)


def _no_label(name: str, trained: set[str]) -> bool:
    """Return whether the only folder of a validation or test set is not a class, as in test/unknown/1.jpg."""
    return name not in trained and (normal(name) in NO_LABEL or split_of(name) != UNASSIGNED)


def _inside_wrappers(
    folder: Folder, own: Counter[Folder], below: Counter[Folder], children: dict[Folder, list[Folder]]
) -> Folder:
    """Descend into folders of which exactly one contains folders of images, such as set/set/ with set/set/cat/1.jpg."""
    while True:
        kids = [kid for kid in children.get(folder, ()) if below[kid]]
        alone = len(kids) == 1 and not own[kids[0]]
        if not alone or (own[folder] and sum(below[one] > 0 for one in children.get(kids[0], ())) < 2):
            return folder
        folder = kids[0]
