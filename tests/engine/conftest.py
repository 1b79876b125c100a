"""Run danlu's command line in processes that can be killed, limited in disk space and signalled."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# Forked from a server that has imported torch and computed nothing: a fresh process in milliseconds.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["danlu.cli", "danlu.console.commands", "sklearn.datasets", "plotly.graph_objects"])
MAIN = """
import faulthandler, os, sys
os.setpgid(0, 0)
log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(log, 1), os.dup2(log, 2)
os.environ["PYTHONFAULTHANDLER"] = "1"  # of the processes that it starts
faulthandler.enable()
{before}
from danlu.cli import main
sys.exit(main({argv!r}))
"""


class Command:
    """One `danlu ...` in the background. before: Python statements that its process runs first."""

    def __init__(self, log: Path, argv: list[str], before: str = "") -> None:
        self.log = log
        code = MAIN.format(log=str(log), argv=argv, before=before)
        self.process = CONTEXT.Process(target=exec, args=(code, {}))
        self.process.start()

    def signal(self, number: int) -> None:
        if self.process.is_alive():
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.join()

    def wait(self, seconds: int = 120) -> int:
        """Exit code; negative for the signal that ended it."""
        for _ in range(seconds):  # one by one: while the whole machine is suspended its clocks go on
            self.process.join(1)
            if not self.process.is_alive():
                break
        if self.process.is_alive():  # ended by a signal at which each of its processes says where it stands
            os.killpg(self.process.pid, signal.SIGABRT)
            self.process.join()
            pytest.fail(f"still running after {seconds} s:\n{self.said}")
        return self.process.exitcode

    def until(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        """Poll every 2 ms until the condition holds or the process has ended."""
        waited, before = 0.0, time.monotonic()
        while self.process.is_alive() and not condition():
            time.sleep(0.002)  # without a pause the test would take a core from the processes it waits for
            now = time.monotonic()
            waited, before = waited + min(now - before, 1), now  # see `wait`
            assert waited < seconds, f"never happened:\n{self.said}"

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@contextmanager
def commands(folder: Path) -> Iterator[Callable[..., Command]]:
    """Yield a function that starts a `Command` with its log in `folder`; all of them are ended at the end."""
    started: list[Command] = []

    def start(*argv: object, before: str = "") -> Command:
        started.append(Command(folder / f"log-{len(started)}.txt", [str(word) for word in argv], before))
        return started[-1]

    yield start
    for command in started:
        command.kill()


@pytest.fixture
def danlu(tmp_path):
    """danlu("train", "digits", ...) -> Command; all of them are ended with the test."""
    with commands(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def danlu_of_module(tmp_path_factory):
    """As `danlu`, for runs that several tests of a file read."""
    with commands(tmp_path_factory.mktemp("commands")) as start:
        yield start


@pytest.fixture(scope="session")
def result():
    """Folder -> what must be the same bit for bit however often the run was interrupted: weights, record, figures."""

    def read(run: Path) -> dict[str, Any]:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        timed = {"seconds", "samples_per_second"}
        summary = json.loads((run / "summary.json").read_text())
        weights = {file.name: file.read_bytes() for file in sorted((run / "weights").iterdir())}
        kept = {key: summary[key] for key in ("metrics", "epochs", "best_epoch", "test_looks", "evaluation")}
        return {"rows": [{k: v for k, v in row.items() if k not in timed} for row in rows], "weights": weights} | kept

    return read


@pytest.fixture(scope="session")
def lines():
    """File -> number of whole lines in it; 0 while there is none."""
    return lambda file: file.read_bytes().count(b"\n") if file.exists() else 0
