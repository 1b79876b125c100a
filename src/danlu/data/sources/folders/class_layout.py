"""Layout of class folders: which folders are classes, of which split, and what beside them is not read."""

from __future__ import annotations

from dataclasses import dataclass, field

from danlu.data.dataset import TRAIN, UNASSIGNED
from danlu.data.files.survey import File, Survey, normal
from danlu.data.sources.folders.folder_guards import Folder, copies_of_images, repeated
from danlu.data.sources.folders.folder_tree import FolderTree
from danlu.data.sources.folders.split_labels import listed_classes
from danlu.data.sources.folders.unread_labels import advice_on_labels
from danlu.data.sources.masks.mask_files import IMAGE_WORDS
from danlu.data.split_names import SPLIT_WORDS, split_of
from danlu.message import Message, message

NO_LABEL = {"unknown", "unlabelled", "unlabeled", "none", "all", "no_label", *IMAGE_WORDS}  # folders of no class
RESULTS = {"plots", "figures", "pred", "preds", "predictions", "outputs", "checkpoints", "runs"}  # of no class
PROGRAMS = {".py", ".ipynb", ".js", ".ts", ".html", ".css", ".c", ".cpp", ".h", ".java", ".sh", ".m", ".r"}
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
    tree, layout = FolderTree.of(survey), ClassLayout()
    _leave_out_small_copies(survey, tree, layout)
    top = tree.inside_wrappers(())
    if top:
        text = "read from {folder}/, the only folder of images"
        layout.notes.append(message("data.note.read_only_folder_images", text, folder="/".join(top)))
    kids = tree.children.get(top, [])
    splits = {kid: split for kid in kids if (split := split_of(kid[-1])) != UNASSIGNED}
    containers = [kid for kid in kids if kid in splits and not tree.own[kid] and tree.below[kid]]
    copies = _repeated_splits(survey, tree, layout, {kid: splits[kid] for kid in containers})
    kids, containers = ([kid for kid in part if kid not in copies] for part in (kids, containers))
    if loose := sum(tree.own[top[:depth]] for depth in range(len(top) + 1)):
        text = "{count} {count:image|images} outside the class folders {count:is|are} not read"
        layout.notes.append(message("data.note.images_outside_class_folders", text, count=loose))
    if containers:
        _read_splits(survey, tree, layout, kids, containers, splits)
    else:
        _read_classes(survey, tree, layout, kids, splits)
    return layout


def _leave_out_small_copies(survey: Survey, tree: FolderTree, layout: ClassLayout) -> None:
    """Remove folders of thumbnails or drawings of other images from the tree."""
    for folder in copies_of_images(survey):
        text = (
            "the {count} {count:image|images} of {folder}/ {count:is|are} not read: small copies or drawings of others"
        )
        count = tree.remove(folder)
        layout.notes.append(message("data.note.images_read_small_copies", text, count=count, folder="/".join(folder)))


def _repeated_splits(survey: Survey, tree: FolderTree, layout: ClassLayout, splits: dict[Folder, int]) -> set[Folder]:
    """Folders of splits whose images are copies of those of another folder."""
    copies = repeated(survey, splits)
    for folder, whole in copies.items():
        text = "the {count} {count:image|images} of {folder}/ {count:is|are} not read: copies of those in {originals}/"
        layout.notes.append(
            message("data.note.images_read_copies", text, count=tree.below[folder], folder="/".join(folder),
                    originals="/".join(whole))
        )  # fmt: skip
    return set(copies)


def _read_classes(
    survey: Survey, tree: FolderTree, layout: ClassLayout, kids: list[Folder], splits: dict[Folder, int]
) -> None:
    """Class folders without folders of splits around them; folders that are named like splits are refused."""
    kids = _without_other_folders(layout, kids, tree)
    with_images = [kid for kid in kids if tree.below[kid]]
    classes = [kid for kid in with_images if kid not in splits]
    for kid in [kid for kid in with_images if len(classes) > 1 and tree.own[kid] and _is_held_out(kid[-1])]:
        _without_class_folders(survey, layout, kid, splits[kid], {one[-1] for one in classes}, tree.below[kid])
        kids.remove(kid)
        with_images.remove(kid)
    kids = _without_programs(survey, layout, kids, tree)
    layout.classes = [(kid, TRAIN) for kid in kids] if with_images else []
    named = {splits[kid] for kid in with_images if tree.own[kid] and kid in splits}
    no_class = len(with_images) == 1 and normal(with_images[0][-1]) in NO_CLASS
    if with_images and (no_class or all(kid in splits for kid in with_images) or {TRAIN} < named):
        layout.refuse = message(
            "data.refuse.no_class_folders",
            "{folders} contain images, but neither class folders nor a file with labels in a known format; "
            "{advice}", folders=[f"{kid[-1]}/" for kid in with_images], advice=advice_on_labels(survey),
        )  # fmt: skip


def _is_held_out(name: str) -> bool:
    """Return whether the name of a folder beside class folders is that of a validation or test set: test, valid."""
    return SPLIT_WORDS.get(normal(name), TRAIN) != TRAIN


def _without_programs(survey: Survey, layout: ClassLayout, kids: list[Folder], tree: FolderTree) -> list[Folder]:
    """The folders without those that hold programs and no image, which are no class."""
    programs = {file.folder for file in survey.files if file.suffix in PROGRAMS}
    found = [kid for kid in kids if not tree.below[kid] and any(one[: len(kid)] == kid for one in programs)]
    if found:
        text = "{folders} {count:holds|hold} programs and no image: no {count:class|classes}"
        named = [f"{kid[-1]}/" for kid in found[:4]]
        layout.notes.append(message("data.note.program_folders", text, folders=named, count=len(found)))
    return [kid for kid in kids if kid not in found]


def _read_splits(
    survey: Survey,
    tree: FolderTree,
    layout: ClassLayout,
    kids: list[Folder],
    containers: list[Folder],
    splits: dict[Folder, int],
) -> None:
    """Class folders inside the folders of splits (`containers`); the other `kids` are not read, or hold no classes."""
    training = [tree.inside_wrappers(kid) for kid in containers if splits[kid] == TRAIN]
    trained = {folder[-1] for inner in training for folder in tree.children.get(inner, ())}
    if not training and (unnamed := _like_splits(kids, containers, tree)):
        layout.refuse = message(
            "data.refuse.split_without_name",
            "{unnamed}/ has the class folders of {named}/, but its name is not that of a split; rename it to train",
            unnamed=unnamed[-1], named=containers[0][-1],
        )  # fmt: skip
        return
    for kid in kids:
        if kid not in splits:
            text = "{folder}/ is not read: its name is neither train, val nor test"
            layout.notes.append(message("data.note.read_name_neither_train", text, folder="/".join(kid)))
        elif kid in containers:
            _read_split(tree, layout, kid, splits[kid], trained)
        elif tree.below[kid]:
            _without_class_folders(survey, layout, kid, splits[kid], trained, tree.below[kid])


def _read_split(tree: FolderTree, layout: ClassLayout, folder: Folder, split: int, trained: set[str]) -> None:
    """Add the class folders of a split. trained: classes of the training set."""
    inner = tree.inside_wrappers(folder)
    found = [(kid, split) for kid in tree.children.get(inner, ())]
    if len(found) == 1 and split != TRAIN and _no_label(found[0][0][-1], trained):
        layout.unlabelled += (split,)
        text = (
            "the {count} {count:image|images} of {folder}/ {count:lies|lie} in {outer}/, which is no class of the "
            "training set: used for prediction, not read"
        )
        layout.notes.append(
            message("data.note.folder_of_no_class", text, count=tree.below[folder], folder="/".join(folder),
                    outer=found[0][0][-1])
        )  # fmt: skip
        return
    layout.classes += found
    if tree.own[inner]:
        text = "{count} {count:image|images} of {folder}/ outside the class folders {count:is|are} not read"
        layout.notes.append(message("data.note.images_outside_of", text, count=tree.own[inner], folder="/".join(inner)))


def _without_other_folders(layout: ClassLayout, kids: list[Folder], tree: FolderTree) -> list[Folder]:
    """The class folders without those of results or figures, and those that hold folders of the same classes again."""
    classes = {kid[-1] for kid in kids if tree.own[kid] and normal(kid[-1]) not in RESULTS}
    if len(classes) < 2:
        return kids
    kept = []
    for kid in kids:
        inside = {one[-1] for one in tree.children.get(kid, ()) if tree.below[one]}
        if tree.own[kid] and normal(kid[-1]) in RESULTS:
            text = (
                "the {count} {count:image|images} of {folder}/ {count:is|are} not read: it is called like a "
                "folder of results, not like a class"
            )
            layout.notes.append(
                message("data.note.folder_of_results", text, count=tree.below[kid], folder="/".join(kid))
            )
        elif not tree.own[kid] and inside and inside <= classes:
            text = (
                "the {count} {count:image|images} of {folder}/ {count:is|are} not read: it holds folders of the "
                "same classes again ({inside})"
            )
            layout.notes.append(
                message("data.note.same_classes_again", text, count=tree.below[kid], folder="/".join(kid),
                        inside=sorted(inside))
            )  # fmt: skip
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


def _like_splits(kids: list[Folder], containers: list[Folder], tree: FolderTree) -> Folder | None:
    """The first other folder that has a class folder of a split, as entrainement/ beside test/."""
    inner = {folder[-1] for one in containers for folder in tree.children.get(one, ())}
    others = (kid for kid in kids if kid not in containers)
    return next((kid for kid in others if inner & {folder[-1] for folder in tree.children.get(kid, ())}), None)


def _no_label(name: str, trained: set[str]) -> bool:
    """Return whether the only folder of a validation or test set is not a class, as in test/unknown/1.jpg."""
    return name not in trained and (normal(name) in NO_LABEL or split_of(name) != UNASSIGNED)
