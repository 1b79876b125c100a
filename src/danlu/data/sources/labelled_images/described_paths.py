"""Paths in descriptions of data sets (data.yaml, obj.data, lists of images), resolved inside the data folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from danlu.config import DataConfig
from danlu.data.dataset import Problem
from danlu.data.files.image_file import extensions
from danlu.data.files.links import FOLLOW, Fence
from danlu.data.files.survey import File, visible
from danlu.data.files.text_files import read_lines
from danlu.data.image_index import NOT_FOLLOWED, ImageIndex
from danlu.data.sources.labelled_images.reading import stop_if_many_bad
from danlu.message import message
from danlu.refuse import refusal


class DescribedPaths:
    """Resolve the paths in a description: inside the data folder, and elsewhere only with --follow-links.

    refused: images in lists that exist outside.
    """

    def __init__(self, fence: Fence, index: ImageIndex) -> None:
        self.fence, self.index = fence, index
        self.refused: list[Problem] = []

    def find(self, bases: list[Path], entry: str, where: str) -> Path | None:
        """Find the file or folder `entry`. Raises Refusal if it exists only outside the data folder.

        where: the description and the key, for the message.
        """
        inside, outside = self._places(bases, entry)
        if inside is None and outside is not None:
            raise refusal(
                where,
                message("data.wanted.inside_data_folder", "inside the data folder {home}", home=self.fence.home[:-1]),
                entry,
                do=FOLLOW,
            )
        return inside

    def _places(self, bases: list[Path], entry: str) -> tuple[Path | None, Path | None]:
        """The first place where `entry` is that may be read, and the first outside.

        Leading parts are dropped, as of a path of another machine or a wrong ../x.
        """
        parts = Path(entry.replace("\\", "/")).parts
        outside = None
        for start in range(len(parts)):
            for base in bases:
                place = base.joinpath(*parts[start:])
                try:
                    found = (parts[start] != ".." or start == 0) and place.exists()
                except OSError:  # a name too long for a file
                    return None, outside
                if found and (self.fence.open or self.fence.holds(place)):
                    return place, outside
                outside = outside or (place if found else None)
        return None, outside

    def images(self, place: Path, where: str, root: Path | None = None) -> Iterator[Path]:
        """Images of a folder, or of a text file that lists them by paths: as written, else by their names."""
        if place.is_dir():
            named = [file for file in sorted(place.rglob("*")) if file.suffix.lower() in extensions()]
            named = [file for file in named if all(map(visible, file.relative_to(place).parts))]
            if not named:
                raise refusal(
                    where,
                    message("data.wanted.folder_images", "a folder of images"),
                    message("data.got.without_images", "{place} without images", place=place),
                )
            yield from (file for file in named if self.fence.allows(file))
            return
        try:
            lines = read_lines(place)
        except (OSError, ValueError):
            raise refusal(
                where,
                message("data.wanted.folder_images_text_file", "a folder of images or a text file that lists them"),
                str(place),
            ) from None
        for line in lines:
            if name := line.strip():
                listed, outside = self._places([place.parent, *([root] if root else [])], name)
                known = self.index.find(name) if listed is None else None
                if outside is not None and listed is None and not isinstance(known, File):
                    self.refused.append(Problem(f"{name} (of {place.name})", NOT_FOLLOWED))
                else:
                    yield listed or (known.path if isinstance(known, File) else place.parent / name)

    def usable(self, path: Path, images: int, config: DataConfig) -> Sequence[Problem]:
        """The refused entries as problems. Raises Refusal if they are too many. images: number of the others."""
        refused = self.refused
        stop_if_many_bad(path, len(refused), len(refused) + images, refused, config, "images")
        return refused
