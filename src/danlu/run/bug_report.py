"""Report of an unexpected exception, complete enough to be sent as it is, and where it is kept."""

from __future__ import annotations

import platform
import shlex
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NOTE = "in the training of the run "  # note on an exception, followed by the run folder
FILE = "danlu-bug-report.txt"  # in the current folder, where no run is left
PACKAGES = ("danlu", "torch", "numpy")
PACKAGE = Path(__file__).parents[1]


def note_run(error: BaseException, folder: Path) -> None:
    """Note on an exception in which run it was raised, for `keep_report` and for the traceback of a user."""
    error.add_note(f"{NOTE}{folder}")


def bug_report(error: BaseException, command: Sequence[str]) -> str:
    """Versions, command, place and traceback as text of a few lines. command: words after `danlu`."""
    return "\n".join(
        [
            "--- danlu bug report ---",
            f"versions: python {platform.python_version()}, {', '.join(_versions())}, {platform.platform()}",
            f"command: danlu {shlex.join(command)}",
            f"place: {_place(error)}",
            "".join(traceback.format_exception(error)).rstrip(),
            "--- end of the bug report ---",
        ]
    )


def keep_report(error: BaseException, command: Sequence[str]) -> Path | None:
    """Write the report into the log of the run that was being trained or read, else into a file of the current folder.

    Returns:
        The file; None if nothing can be written.
    """
    text = bug_report(error, command) + "\n"
    for file, mode in ((_log_of_run(error, command), "a"), (Path(FILE), "w")):
        if file is None:
            continue
        try:
            with file.open(mode, encoding="utf-8", errors="backslashreplace") as out:
                out.write(text)
        except OSError:
            continue
        return file
    return None


def _log_of_run(error: BaseException, command: Sequence[str]) -> Path | None:
    """log.txt of the run of an exception or, without one, of the run that the command names."""
    notes = [note.removeprefix(NOTE) for note in getattr(error, "__notes__", ()) if note.startswith(NOTE)]
    for name in (*notes, *command):
        try:
            if name and (Path(name) / "config.yaml").is_file():
                return Path(name) / "log.txt"
        except (OSError, ValueError):  # a word that is no path
            continue
    return None


def _place(error: BaseException) -> str:
    """File, line and function of danlu in which the exception was raised or passed last."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    if not own:
        return "outside of danlu"
    last = own[-1]
    return f"{Path(last.filename).relative_to(PACKAGE.parent)}:{last.lineno} in {last.name}"


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found
