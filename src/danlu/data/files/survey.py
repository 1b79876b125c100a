"""Listing of all files of a dataset by kind and folder, with the first bytes of text files.

Formats are recognised from a `Survey` rather than from the disk, so that each of them takes all files into account.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from danlu.data.files.image_file import IMAGE_SUFFIXES
from danlu.data.files.json_kinds import json_kind
from danlu.data.files.links import Fence, Unread, kind_of
from danlu.data.files.text_files import decode_guessed, decode_text
from danlu.message import message
from danlu.refuse import Refusal, refusal, system_reason

# Files and folders of file managers, disks and Python; hidden ones are ignored too.
JUNK = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
JUNK |= {"__pycache__", "icon\r"}
HEAD = 1 << 16  # bytes read of a text file to recognise its format
SAMPLED_FILES = 24  # files of one kind that are opened
MAX_FILES_AROUND = 300_000  # files listed in the folder of an annotation file to find its images
# At the end of a text in json. It starts behind a quote or a slash, so that the search is linear in any text.
IMAGE_NAME = re.compile(r"(?<=[\"\\/])([^\"\\/]+\.(?:jpe?g|png|bmp|tiff?|webp|gif))\"", re.I)
ANNOTATION_FOLDERS = ("data", "annotations", "annotation", "labels", "label", "csv", "meta", "metadata")
MAX_FILES = 3_000_000  # more files than any dataset has


@dataclass(frozen=True)
class File:
    """A file below the root. parts: its path relative to the root."""

    path: Path
    parts: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name with its suffix."""
        return self.parts[-1]

    @property
    def stem(self) -> str:
        """Name without its suffix."""
        return self.name.rpartition(".")[0] or self.name

    @property
    def suffix(self) -> str:
        """Lower case, with its dot."""
        return os.path.splitext(self.name)[1].lower()

    @property
    def folder(self) -> tuple[str, ...]:
        """Folders between the root and the file."""
        return self.parts[:-1]

    @property
    def relative(self) -> str:
        """Path relative to the root, with "/"."""
        return "/".join(self.parts)


@dataclass
class Survey:
    """All files below a folder except hidden ones, or a single file.

    path: as given by the user. root: the folder, or the folder of the file. files, folders: sorted by path, relative to
    the root. unread: entries that are left out. follow_links: links out of the folder, and paths out of it in
    annotations, are followed. image_suffixes: extensions of images, or of other samples whose folders are read alike.
    """

    path: Path
    root: Path
    files: list[File] = field(default_factory=list)
    folders: list[tuple[str, ...]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)  # links back into the folder, not followed
    unread: list[Unread] = field(default_factory=list)
    follow_links: bool = False
    image_suffixes: Collection[str] = IMAGE_SUFFIXES
    memo: dict[str, Any] = field(default_factory=dict)  # results of recognising a format that are reused for reading

    @property
    def is_file(self) -> bool:
        """Return whether the data are a single file."""
        return self.path != self.root

    @property
    def links_out(self) -> list[Unread]:
        """Links out of the folder that are not followed."""
        return [one for one in self.unread if one.outside]

    @cached_property
    def by_suffix(self) -> dict[str, list[File]]:
        """Files by suffix."""
        found: dict[str, list[File]] = defaultdict(list)
        for file in self.files:
            found[file.suffix].append(file)
        return dict(found)

    @cached_property
    def by_folder(self) -> dict[tuple[str, ...], list[File]]:
        """Files by the folder that holds them."""
        found: dict[tuple[str, ...], list[File]] = defaultdict(list)
        for file in self.files:
            found[file.folder].append(file)
        return dict(found)

    @cached_property
    def images(self) -> list[File]:
        """Files with the extension of an image, readable or not."""
        return [file for file in self.files if file.suffix in self.image_suffixes]

    @cached_property
    def image_root(self) -> tuple[str, ...]:
        """The deepest folder that holds all images at some depth."""
        folders = [file.folder for file in self.images] or [()]
        first, last = min(folders), max(folders)
        shared = next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))
        return first[:shared]

    @cached_property
    def image_stems(self) -> dict[str, list[File]]:
        """Images by their normalised stem."""
        found: dict[str, list[File]] = defaultdict(list)
        for file in self.images:
            found[normal(file.stem)].append(file)
        return dict(found)

    def of(self, *suffixes: str) -> list[File]:
        """Files with one of these lower-case extensions."""
        return [file for suffix in suffixes for file in self.by_suffix.get(suffix, ())]

    def subfolders(self, folder: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        """Folders directly inside `folder`."""
        return [one for one in self.folders if one[:-1] == folder]

    @cached_property
    def _heads(self) -> dict[Path, bytes]:
        return {}

    def head(self, file: File) -> bytes:
        """Read the first bytes of a file; empty if it cannot be read."""
        if file.path not in self._heads:
            try:
                with file.path.open("rb") as stream:
                    self._heads[file.path] = stream.read(HEAD)
            except OSError:
                self._heads[file.path] = b""
        return self._heads[file.path]

    def lines(self, file: File) -> list[str]:
        """Read the first lines of a text file, without empty ones; none for a binary file."""
        data = self.head(file)
        cut = len(data) == HEAD
        text, encoding = decode_guessed(data[: data.rfind(b"\n")] if cut else data)
        text = "" if encoding and b"\0" in data else text
        return [line for line in text.splitlines() if line.strip()]

    def xml_root(self, file: File) -> str:
        """Read the name of the root element of an xml file; empty if there is none."""
        try:
            text = decode_text(self.head(file)[:4096].ljust(4096))
        except UnicodeDecodeError:
            text = self.head(file)[:4096].decode("latin-1")
        found = re.search(r"<([A-Za-z_][\w.-]*)[\s/>]", re.sub(r"<\?.*?\?>|<!--.*?-->", "", text, flags=re.DOTALL))
        return found.group(1) if found else ""

    @cached_property
    def cut_json(self) -> list[File]:
        """Json files that are cut or damaged and name an image that is there: annotations of some kind."""
        names = {normal(file.name) for file in self.images}
        return [file for file in self.json_kinds.get("broken", ()) if names & set(self.names_in(file))]

    def names_in(self, file: File) -> list[str]:
        """Normalised names of image files that occur as values at the start of a json file."""
        return [normal(name) for name in IMAGE_NAME.findall(self.head(file).decode("utf-8", "replace"))]

    def json_of(self, kind: str) -> list[File]:
        """Json files of a kind, and those too damaged to be recognised, whose reader names the fault."""
        return sorted({*self.json_kinds.get(kind, ()), *self.cut_json}, key=lambda file: file.parts)

    @cached_property
    def json_kinds(self) -> dict[str, list[File]]:
        """Json files by their kind. Of a large folder a sample is opened; the other files get its most common kind."""
        groups: dict[tuple[Any, ...], list[File]] = defaultdict(list)
        for file in self.of(".json"):
            groups[file.folder].append(file)
        found: dict[str, list[File]] = defaultdict(list)
        for files in groups.values():
            kinds = {file: json_kind(file.path) for file in sample(files)}
            if len(kinds) == len(files):
                for file, kind in kinds.items():
                    found[kind].append(file)
                continue
            usual = max(set(kinds.values()), key=list(kinds.values()).count)
            for file in files:
                found[kinds.get(file, usual)].append(file)
        return dict(found)


def survey(path: Path, partly: bool = False, follow_links: bool = False) -> Survey:
    """List the files below `path`.

    partly: skip unreadable folders and stop after `MAX_FILES_AROUND` files, for a folder that the user did not name.
    follow_links: follow links out of the folder. Links into it are never followed: they could form a loop, or give
    images of another class a second label.
    Raises Refusal if a folder cannot be read or has more than `MAX_FILES` files.
    """
    if not path.is_dir():
        one = Survey(path, path.parent, follow_links=follow_links)
        one.files.append(File(path, (path.name,)))
        return one
    found = Survey(path, path, follow_links=follow_links)
    fence = Fence.around(path, follow_links)
    visited = {os.path.realpath(path)}
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        parts = waiting.pop()
        try:
            listed = entries(path.joinpath(*parts))
        except Refusal:
            if not partly:
                raise
            continue
        for entry in listed:
            below = (*parts, entry.name)
            kind, fault = kind_of(entry)
            real = os.path.realpath(entry.path) if kind == "folder" else ""
            if kind == "folder" and entry.is_symlink() and _related(real, fence.home):
                found.links.append("/".join(below))
                continue
            outside = fence.reason(entry)
            if outside or kind == "other":
                found.unread.append(Unread("/".join(below), outside or fault, outside is not None))
                continue
            if kind == "file":
                found.files.append(File(Path(entry.path), below))
                continue
            if real not in visited:
                visited.add(real)
                found.folders.append(below)
                waiting.append(below)
        if partly and len(found.files) > MAX_FILES_AROUND:
            break
        if len(found.files) > MAX_FILES:
            raise refusal(
                str(path),
                message("data.wanted.folder_dataset", "the folder of a dataset"),
                message("data.got.more_files", "more than {count:,} files", count=MAX_FILES),
            )
    found.files.sort(key=lambda file: file.parts)
    found.folders.sort()
    found.unread.sort(key=lambda one: one.where)
    return found


def surroundings(data: Survey) -> Survey:
    """Survey to find images in: of a single file, that of its folder, or of the folder above one of annotations."""
    if not data.is_file:
        return data
    if "around" not in data.memo:
        found = survey(data.root, partly=True, follow_links=data.follow_links)
        if not found.images and normal(data.root.name) in ANNOTATION_FOLDERS:
            found = survey(data.root.parent, partly=True, follow_links=data.follow_links)
        data.memo["around"] = replace(found, path=data.path)
    return data.memo["around"]


def _related(real: str, home: str) -> bool:
    """Return whether a folder lies inside another, or the other way round."""
    target = os.path.join(real, "")
    return target.startswith(home) or home.startswith(target)


def as_survey(data: Path | Survey) -> Survey:
    """List the files of a path; a survey is returned as it is, so that callers may share one."""
    return data if isinstance(data, Survey) else survey(data)


def entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """List a folder, sorted, without hidden files and those of file managers. Raises Refusal if it is unreadable."""
    try:
        found = list(os.scandir(folder))
    except OSError as error:
        raise refusal(f"folder {folder}", message("data.wanted.readable", "readable"), system_reason(error)) from None
    return sorted((e for e in found if visible(e.name)), key=lambda e: e.name)


def visible(name: str) -> bool:
    """Return whether a file is part of the data: neither hidden nor left by an operating system (JUNK)."""
    return not name.startswith(".") and name.lower() not in JUNK


def normal(name: str) -> str:
    """Normalise a file name for comparison: Unicode NFC, lower case, forward slashes."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()


def sample(files: Sequence[File], count: int = SAMPLED_FILES) -> list[File]:
    """Select up to `count` files, evenly spaced."""
    if len(files) <= count:
        return list(files)
    step = (len(files) - 1) / (count - 1)
    return [files[round(i * step)] for i in range(count)]
