"""Runs the predict.py beside an exported file."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Runs it as in an environment that has neither torch nor danlu.
ALONE = (
    "import sys, runpy\nsys.modules.update(torch=None, danlu=None, torchvision=None)\n"
    "sys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.fixture(scope="session")
def told() -> Callable[..., list[dict]]:
    """(script, paths) -> the predictions that it prints."""

    def run(script: Path, *paths: object) -> list[dict]:
        words = [sys.executable, "-c", ALONE, str(script), "--json", *map(str, paths)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["predictions"]

    return run
