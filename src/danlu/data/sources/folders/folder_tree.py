"""Folders of a survey as a tree, with the number of images in each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from danlu.data.files.survey import Survey
from danlu.data.sources.folders.folder_guards import Folder, image_counts


@dataclass(frozen=True)
class FolderTree:
    """Folders and their images.

    own: images directly in a folder. below: images at any depth below it. children: folders directly in it.
    """

    own: Counter[Folder]
    below: Counter[Folder]
    children: dict[Folder, list[Folder]]

    @classmethod
    def of(cls, survey: Survey) -> FolderTree:
        """The tree of all folders of a survey."""
        own, below = image_counts(survey)
        children: dict[Folder, list[Folder]] = {}
        for folder in survey.folders:
            children.setdefault(folder[:-1], []).append(folder)
        return cls(own, below, children)

    def remove(self, folder: Folder) -> int:
        """Take a folder out of the tree; return the number of images below it."""
        self.children[folder[:-1]].remove(folder)
        count = self.below[folder]
        for depth in range(len(folder) + 1):
            self.below[folder[:depth]] -= count
        return count

    def inside_wrappers(self, folder: Folder) -> Folder:
        """Descend while exactly one folder holds folders of images, such as set/set/ with set/set/cat/1.jpg."""
        while True:
            kids = [kid for kid in self.children.get(folder, ()) if self.below[kid]]
            alone = len(kids) == 1 and not self.own[kids[0]]
            if not alone:
                return folder
            inner = sum(self.below[one] > 0 for one in self.children.get(kids[0], ()))
            if self.own[folder] and inner < 2:
                return folder
            folder = kids[0]
