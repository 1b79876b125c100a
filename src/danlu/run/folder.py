"""The run folder: its files, written atomically, and its lock.

config.yaml (resolved), choices.json (settings that danlu chose, with reasons), environment.json, metrics.jsonl,
summary.json, findings.json, weights/best.safetensors, weights/last.safetensors, weights/start.safetensors (initial
weights of --init), weights/path/ (of some epochs, with `save_path`), state.pt (to resume; a finished run keeps it with
`keep_state` only), state.previous.pt (the checkpoint before it, until the training ends), doctor.jsonl (measurements of
the doctor), heal/ and heal.json (attempts of healing), earlier.json (runs before it on the same data), report.html,
features.json (section of the report), landscape.html, evaluation.html, log.txt, checksums.txt (see
`run/checksums.py`). Every file is written by `write_atomically`, so that a kill or a power cut at any moment leaves a
complete file, old or new; `run/stage.py` defines their order.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from danlu.config import Config, load_yaml
from danlu.message import message, messages_in, printable, with_messages
from danlu.refuse import Refusal, refusal, system_reason
from danlu.run.archive import is_archive, opened_archive
from danlu.run.atomic import remove_unfinished, write_atomically
from danlu.run.checksums import check, expect, is_intact
from danlu.run.record import Record
from danlu.run.result import Result
from danlu.run.stage import RunStage, can_be_taken, stage_of
from danlu.run.summary import Summary

FEATURES = "features.safetensors"  # in weights/
LOCK_SECONDS = 0.2  # to wait for a lock: a reader that looks whether it is held takes it for a moment


class Run:
    """One run folder: `Run.create` makes a new one, `Run.open` opens an existing one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: FileLock | None = None
        self._made: list[Path] = []  # folders that `create` made, innermost last

    @classmethod
    def create(cls, out: str | None) -> Run:
        """Create and lock a new run folder: `out`, or the next free runs/N.

        A folder whose run was killed before it had read its data counts as empty.

        Raises:
            Refusal: The folder exists and is not empty, is in use, or cannot be written.
        """
        folder = Path("runs") if out is None else Path(out)
        made = [one for one in (*reversed(folder.parents), folder) if not one.exists()]
        if out is None:
            folder = _next_free(folder)
            made.append(folder)
        if folder.exists() and not folder.is_dir():
            raise refusal(
                "--out",
                message("run.wanted.folder", "a folder"),
                str(folder),
                do=message("run.do.file_name_exists", "a file with this name exists"),
            )
        if folder.is_dir() and not can_be_taken(folder):
            if not (folder / "config.yaml").exists():
                raise refusal("--out", message("run.wanted.new_empty_folder", "a new or empty folder"), str(folder))
            with cls(folder).locked():
                pass  # a run in use has its own sentence
            raise Refusal(
                message(
                    "run.refuse.out_new_folder_holds",
                    "--out must be a new folder, but {folder} holds a run; resume it with `danlu train "
                    "--resume {folder}` or choose another name",
                    folder=folder,
                )
            )
        try:
            (folder / "weights").mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise Refusal(
                message(
                    "run.refuse.out_folder_can_written",
                    "--out must be a folder that can be written, got {folder}: {why}",
                    folder=folder,
                    why=system_reason(error),
                )
            ) from None
        run = cls(folder)
        run._made = made
        run.lock()
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open an existing run: a folder, or a zip of `danlu share`. Refusal, with the nearest run, for other paths."""
        name, folder = str(folder), Path(folder)  # Path("") is the current folder
        if name and is_archive(folder):
            folder = opened_archive(folder)
        if not name or not (folder / "config.yaml").is_file():
            wanted = message("run.wanted.run_folder_holds_config", "a run folder (one that holds config.yaml)")
            raise refusal("RUN", wanted, name, near=runs_beside(folder))
        return cls(folder)

    def __fspath__(self) -> str:
        """Path of the folder, so that a run can be passed as a path."""
        return str(self.folder)

    # One process at a time writes a run folder. The kernel releases the lock when the process dies for any reason.
    def lock(self) -> None:
        """Lock the folder for this process. Raises Refusal if it is locked by another process or read-only."""
        self._lock = FileLock(self.folder / ".lock", timeout=LOCK_SECONDS, poll_interval=0.02, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise Refusal(
                message(
                    "run.refuse.run_folder_use_another",
                    "run folder {folder} is in use by another process; wait for it or choose another",
                    folder=self.folder,
                )
            ) from None
        except (OSError, NotImplementedError) as error:
            raise Refusal(
                message(
                    "run.refuse.run_folder_cannot_written",
                    "run folder {folder} cannot be written: {why}",
                    folder=self.folder,
                    why=system_reason(error),
                )
            ) from None
        remove_unfinished(self.folder)

    @property
    def in_use(self) -> bool:
        """True if a living process holds the lock. The folder is not changed."""
        path = self.folder / ".lock"
        if not path.exists():
            return False
        try:
            return _is_locked(path)
        except OSError:  # the run has just been removed, or may not be read
            return False

    def unlock(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock inside the block."""
        self.lock()
        try:
            yield
        finally:
            self.unlock()

    def withdraw(self) -> None:
        """Remove a new run in which nothing has been trained: its files, and the folders that were made for it."""
        trained = [*self.folder.rglob("*.safetensors"), *self.folder.rglob(self.state.name)]
        if any(path.name != self.weights("start").name for path in trained):
            return
        for path in self.folder.iterdir():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        for folder in reversed(self._made):
            with suppress(OSError):  # another run is in it
                folder.rmdir()

    @property
    def stage(self) -> RunStage:
        """Progress of the run from its start to its report."""
        return stage_of(self.folder)

    @property
    def name(self) -> str:
        """Path of the folder."""
        return str(self.folder)

    @property
    def config(self) -> Config:
        """config.yaml. Settings of a cross-validation that has not finished may be open."""
        return load_yaml(self.folder / "config.yaml")

    @property
    def summary(self) -> Summary:
        """Results of the training; empty (false) while the run has not finished."""
        return Summary.from_json(self.read_json("summary.json", default={}))

    @property
    def findings(self) -> Sequence[Mapping[str, Any]]:
        """findings.json; during the training those of its last epochs."""
        return self.read_json("findings.json", default=[])

    @property
    def record(self) -> Record:
        """metrics.jsonl."""
        return Record.read(self.folder / "metrics.jsonl")

    def weights(self, which: str = "best") -> Path:
        """Return the path of a weights file: "best", "last" or "start"."""
        return self.folder / "weights" / f"{which}.safetensors"

    @property
    def features(self) -> Path:
        """Path of the features of training samples that inputs are compared with (`inference/familiarity.py`)."""
        return self.folder / "weights" / FEATURES

    def snapshot(self, epoch: int) -> Path:
        """Return the path of the weights after an epoch, which `save_path` keeps."""
        return self.folder / "weights" / "path" / f"{epoch:05}.safetensors"

    def snapshots(self) -> dict[int, Path]:
        """Kept weights along the training, by epoch in order."""
        return {int(file.stem): file for file in sorted((self.folder / "weights" / "path").glob("*.safetensors"))}

    @property
    def state(self) -> Path:
        """Path of state.pt, the checkpoint to resume from."""
        return self.folder / "state.pt"

    @property
    def ledger(self) -> Path:
        """Path of doctor.jsonl, the measurements of the doctor."""
        return self.folder / "doctor.jsonl"

    @property
    def report(self) -> Path:
        """Path of report.html."""
        return self.folder / "report.html"

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the folder. Raises Failure if the disk does not take it.

        Bytes of names that are not UTF-8 are written as escapes, which JSON reads back as the same name.
        """
        self.write_bytes(name, text.encode("utf-8", "backslashreplace"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file of the folder, its checksum first. Raises Failure if the disk does not take it."""
        path = self.folder / name
        expect(path, content)
        write_atomically(path, lambda part: part.write_bytes(content))

    def checked(self, path: Path) -> Path:
        """Return the path of an existing file, after its checksum. Raises Refusal if the file is damaged."""
        check(path, path.read_bytes())
        return path

    def check(self) -> None:
        """Compare all texts of the folder but config.yaml with their checksums. Raises Refusal for a damaged one."""
        for path in sorted(self.folder.glob("*.json*")):
            self.checked(path)

    @property
    def edited(self) -> bool:
        """True if config.yaml is not as danlu wrote it."""
        path = self.folder / "config.yaml"
        return path.is_file() and not is_intact(path, path.read_bytes())

    def write_json(self, name: str, value: Any) -> None:
        """Write JSON. Messages in a dict are kept as English text, and under "messages" with their id and values."""
        value = value.to_json() if isinstance(value, Result) else value
        if isinstance(value, dict) and (messages := messages_in(value)):
            value = value | {"messages": messages}
        self.write_text(name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")

    def read_json(self, name: str, default: Any) -> Any:
        """Read a file of `write_json`; returns `default` if it does not exist. Raises Refusal for an invalid file."""
        path = self.folder / name
        try:
            content = path.read_bytes()
            check(path, content)
            value = json.loads(content.decode("utf-8"))
        except FileNotFoundError:
            return default
        except Refusal:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise Refusal(
                message(
                    "run.refuse.readable_json", "{path} must be readable JSON: {error}", path=path, error=str(error)
                )
            ) from None
        if not isinstance(value, type(default)):
            wanted = message("run.wanted.json_list", "JSON with a list")
            if isinstance(default, dict):
                wanted = message("run.wanted.json_object", "JSON with an object")
            raise refusal(str(path), wanted, type(value).__name__)
        messages = value.pop("messages", None) if isinstance(value, dict) else None
        return with_messages(value, messages) if isinstance(messages, dict) else value

    def log(self, line: str) -> None:
        """Append to log.txt. Write errors are ignored: a log never stops a training."""
        try:
            with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
                file.write(printable(line.rstrip("\n")) + "\n")
        except OSError:
            pass

    @property
    def logged(self) -> str:
        """Text of log.txt; empty if it cannot be read."""
        try:
            return (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""


def _is_locked(path: Path) -> bool:
    """Return whether a living process holds the lock of a file, which is only read."""
    try:
        import fcntl
    except ImportError:  # Windows
        lock = FileLock(path, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except (Timeout, NotImplementedError):
            return True
        lock.release()
        return False
    number = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)  # goes with the file number
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False


def runs_beside(folder: Path) -> list[str]:
    """List runs to suggest instead of `folder`: inside it, else beside it, else in runs/."""
    for place in (folder, folder.parent, Path("runs")):
        if configs := sorted(place.glob("*/config.yaml")):
            return [str(config.parent) for config in configs]
    return []


def _next_free(parent: Path) -> Path:
    """Create the next folder parent/N."""
    taken = [int(p.name) for p in parent.glob("*") if p.name.isdigit()] if parent.is_dir() else []
    number = max(taken, default=0) + 1
    while True:  # runs started at the same time must not share a number
        folder = parent / str(number)
        try:
            os.makedirs(folder)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            raise Refusal(
                message(
                    "run.refuse.run_folder_cannot_created",
                    "run folder {folder} cannot be created: {strerror}; choose another with --out",
                    folder=folder,
                    strerror=system_reason(error),
                )
            ) from None
