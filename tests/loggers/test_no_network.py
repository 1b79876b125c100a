"""No package of others that danlu uses sends anything: not the loggers, and not OpenVINO, by their defaults."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from danlu.loggers.table import LOGGERS

# Runs a command of danlu; prints each name that is looked up and each address that is connected to, except of this
# machine.
WATCHED = """
import sys

def hook(event, args):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        place = args[0]
    elif event == "socket.connect" and isinstance(args[1], tuple):
        place = args[1][0]
    else:
        return
    if place not in (None, "", "localhost", "127.0.0.1", "::1"):
        print("REACHES", place, flush=True)

sys.addaudithook(hook)
import danlu.cli
sys.exit(danlu.cli.main(sys.argv[1:]))
"""
FLAGS = "--model linear --data.limit 200 --epochs 1 --batch-size 50 --device cpu"


# Variables by which these packages are silent, such as in tests: a user has none of them.
SILENT = ("CI", "DO_NOT_TRACK", "MLFLOW_", "WANDB_", "PYTEST_", "TRACKIO_")


def reached(folder: Path, words: str) -> list[str]:
    """Places outside this machine that a command of danlu asks for."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SILENT)}
    environment["TRACKIO_DIR"] = str(folder / "trackio")
    command = [sys.executable, "-c", WATCHED, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("REACHES")]


@pytest.mark.slow
@pytest.mark.parametrize("name", LOGGERS)
def test_a_logger_sends_nothing(name: str, tmp_path: Path) -> None:
    if find_spec(name) is None:
        pytest.skip(f"pip install danlu[{name}]")
    assert reached(tmp_path, f"train digits {FLAGS} --log {name} --out run") == []


@pytest.mark.slow
def test_openvino_sends_nothing(digits_run, tmp_path: Path) -> None:
    if find_spec("openvino") is None:
        pytest.skip("pip install danlu[openvino]")
    words = f"export {digits_run.folder} --format openvino --out {tmp_path}/m.xml"
    assert reached(tmp_path, words) == []
