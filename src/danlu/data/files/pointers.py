"""Files that only point to data: those of Git LFS, where a repository was cloned without it."""

from __future__ import annotations

from danlu.data.files.survey import File, Survey, sample
from danlu.message import message
from danlu.refuse import Refusal

POINTER = b"version https://git-lfs.github.com/"  # first bytes of a file of Git LFS
MAX_POINTER = 200  # bytes
MIN_POINTERS = 0.05  # fraction of the files looked at
LOOKED = 40


def refuse_pointers(survey: Survey) -> None:
    """Raise Refusal if images or other files are pointers of Git LFS."""
    for files in (survey.images, survey.files):
        looked = sample(files, LOOKED)
        found = [file for file in looked if _is_pointer(file)]
        if found and len(found) > MIN_POINTERS * len(looked):
            text = (
                "{path}: {first} and others are pointers of Git LFS instead of the data: run `git lfs pull` in the "
                "repository"
            )
            raise Refusal(message("data.refuse.pointers", text, path=survey.path, first=found[0].relative))


def _is_pointer(file: File) -> bool:
    try:
        if file.path.stat().st_size > MAX_POINTER:
            return False
        with file.path.open("rb") as stream:
            return stream.read(len(POINTER)) == POINTER
    except OSError:  # named by the reader
        return False
