"""The label file of each image of a YOLO set: .../labels/x.txt for .../images/x.jpg, or x.txt beside the image."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from danlu.data.dataset import UNASSIGNED
from danlu.data.files.image_file import extensions
from danlu.data.files.links import Fence
from danlu.data.files.survey import Survey, normal
from danlu.data.image_index import is_derived
from danlu.data.split_names import split_of_path

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
LABEL_FOLDERS = ("labels", "label", "labels_txt", "txt")
OTHER_TEXTS = ("classes.txt", "labels.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt")


class LabelFiles:
    """Map an image to its label file, None without one; case and Unicode form of the names are ignored."""

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self._fence = Fence.around(survey.root, survey.follow_links)
        self._listed: dict[Path, dict[str, Path]] = {}

    def __call__(self, image: Path) -> Path | None:
        """Return the label file of an image, or None."""
        for folder in self.folders(image):
            if found := self._texts(folder).get(normal(image.stem)):
                return found
        other = self._elsewhere.get(image.parent)
        return None if other is None else self._texts(other).get(normal(image.stem))

    @cached_property
    def _elsewhere(self) -> dict[Path, Path]:
        """Folders of images -> the only folder that holds text files of their names, such as annotations/."""
        texts: dict[tuple[str, ...], set[str]] = {}
        for file in self._survey.of(".txt"):
            if file.name.lower() not in OTHER_TEXTS:
                texts.setdefault(file.folder, set()).add(normal(file.stem))
        found = {}
        usual = {self._survey.root.joinpath(*file.folder, "x") for file in self._survey.images}
        taken = {folder.relative_to(self._survey.root).parts for image in usual for folder in self.folders(image)
                 if folder.is_relative_to(self._survey.root)}  # fmt: skip
        for folder, files in self._survey.by_folder.items():
            if any(map(is_derived, folder)):
                continue
            stems = {normal(file.stem) for file in files if file.suffix in extensions()}
            split = split_of_path(folder)
            own = [text for text, names in texts.items()
                   if stems and text not in taken | {folder} and len(stems & names) > 0.5 * len(stems)
                   and split in (UNASSIGNED, split_of_path(text))]  # fmt: skip
            if len(own) == 1:
                found[self._survey.root.joinpath(*folder)] = self._survey.root.joinpath(*own[0])
        return found

    def expected(self, image: Path) -> Path:
        """Return the label file of an image, or the path where it would be expected."""
        return self(image) or self.folders(image)[0] / f"{image.stem}.txt"

    def folders(self, image: Path) -> list[Path]:
        """List the folders that may contain the label file: .../labels/ for .../images/, then that of the image."""
        parts = image.parts
        places = [i for i, part in enumerate(parts[:-1]) if normal(part) in IMAGE_FOLDERS]
        found = []
        for i in reversed(places):
            above = Path(*parts[:i])
            own = [name for name in self._folders(above) if normal(name) in LABEL_FOLDERS]
            found += [above.joinpath(name, *parts[i + 1 : -1]) for name in own or ["labels"]]
            if own:
                break
        return [*found, image.parent]

    def _texts(self, folder: Path) -> dict[str, Path]:
        if folder not in self._listed:
            try:
                files = [f for f in folder.iterdir() if f.suffix.lower() == ".txt" and self._fence.allows(f)]
            except OSError:
                files = []
            self._listed[folder] = {normal(file.stem): file for file in sorted(files) if not file.name.startswith(".")}
        return self._listed[folder]

    def _folders(self, folder: Path) -> list[str]:
        key = folder / "*"
        if key not in self._listed:
            try:
                self._listed[key] = {
                    one.name: one for one in sorted(folder.iterdir()) if one.is_dir() and self._fence.allows(one)
                }
            except OSError:
                self._listed[key] = {}
        return list(self._listed[key])
