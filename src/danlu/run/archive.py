"""A run in one zip file: written by `danlu share`, read wherever a run folder is taken.

Files from other people are not trusted: only the known names are read, each up to a limit, none outside a new temporary
folder, and no code. Weights are stored uncompressed, so that a small file cannot become a large one.
"""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from danlu.message import message
from danlu.refuse import Refusal, refusal

WEIGHTS = "weights/best.safetensors"
CARD = "README.md"
MAX_TEXT_BYTES = 64 << 20
MAX_WEIGHTS_BYTES = 64 << 30
# Name in the zip -> max size in bytes.
NAMES = {
    CARD: MAX_TEXT_BYTES,
    "config.yaml": MAX_TEXT_BYTES,
    "summary.json": MAX_TEXT_BYTES,
    "findings.json": MAX_TEXT_BYTES,
    "metrics.jsonl": MAX_TEXT_BYTES,
    WEIGHTS: MAX_WEIGHTS_BYTES,
}
REQUIRED = ("config.yaml", WEIGHTS)
MAX_ENTRIES = 64  # other names are ignored up to this number
PIECE = 1 << 20  # bytes read at a time
_opened: dict[tuple[str, int, int], tempfile.TemporaryDirectory[str]] = {}


def write_archive(path: Path, contents: Mapping[str, str | Path]) -> None:
    """Write a zip of texts and files. contents: name in the zip, one of `NAMES` -> text, or a file to copy."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            assert name in NAMES
            if isinstance(content, Path):
                archive.write(content, name, zipfile.ZIP_STORED)
            else:
                archive.writestr(zipfile.ZipInfo(name), content.encode(), zipfile.ZIP_DEFLATED)


def is_archive(path: Path) -> bool:
    """Return whether a path is a file that may be a shared run."""
    return path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path))


def opened_archive(path: Path) -> Path:
    """Unpack a shared run into a temporary folder, which lives as long as the process; the same file only once.

    Raises Refusal for a file that is not a shared run, is damaged, or exceeds a limit.
    """
    stat = path.stat()
    key = str(path.resolve()), stat.st_mtime_ns, stat.st_size
    if key not in _opened:
        folder = tempfile.TemporaryDirectory(prefix="danlu-", ignore_cleanup_errors=True)
        _unpack(path, Path(folder.name) / path.stem)
        _opened[key] = folder
    return Path(_opened[key].name) / path.stem


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if len(names) > MAX_ENTRIES or len(set(names)) < len(names):
                raise refusal(
                    "RUN",
                    message("run.wanted.file_danlu_share", "a file of danlu share"),
                    message(
                        "run.got.wrong_entries",
                        "{path}, with {count} entries, some twice or too many",
                        path=path,
                        count=len(names),
                    ),
                )
            if missing := [name for name in REQUIRED if name not in names]:
                raise refusal(
                    "RUN",
                    message("run.wanted.run_folder_file_danlu", "a run folder or a file of danlu share"),
                    message("run.got.without", "{path}, without {missing}", path=path, missing=missing[0]),
                )
            for entry in entries:
                if entry.filename in NAMES:
                    _copy(archive, entry, folder / entry.filename, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(
            message(
                "run.refuse.run_damaged_zip_file",
                "RUN {path} is damaged or not a zip file: {error}; share the run again",
                path=path,
                error=str(error),
            ),
            "RUN",
        ) from None


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, path: Path) -> None:
    """Copy one entry, counting bytes as they come, because the size in the header may be wrong."""
    limit = NAMES[entry.filename]
    if entry.filename == WEIGHTS and entry.compress_type != zipfile.ZIP_STORED:
        raise Refusal(
            message(
                "run.refuse.run_hold_weights_uncompressed",
                "RUN {path} must hold its weights uncompressed, as danlu share writes them",
                path=path,
            ),
            "RUN",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("wb") as file:
        while piece := source.read(PIECE):
            written += len(piece)
            if written > limit:
                raise Refusal(
                    message(
                        "run.refuse.run_read_larger_mib",
                        "RUN {path} is not read: {filename} is larger than {limit} MiB",
                        path=path,
                        filename=entry.filename,
                        limit=limit >> 20,
                    ),
                    "RUN",
                )
            file.write(piece)
