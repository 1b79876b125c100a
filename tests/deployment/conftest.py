"""Runs the predict.py beside an exported file, in an environment that has three packages."""

import json
import subprocess
import venv
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PACKAGES = ("numpy", "pillow", "onnxruntime")  # all that predict.py needs


def with_requirements(names: tuple[str, ...]) -> Iterator[Distribution]:
    """Packages, and those that they require."""
    todo, done = list(names), set()
    while todo:
        name = todo.pop()
        if name not in done:
            done.add(name)
            found = distribution(name)
            needed = [Requirement(text) for text in found.requires or ()]
            todo += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
            yield found


@pytest.fixture(scope="session")
def small_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with `PACKAGES` and what they require, as links to those installed here."""
    place = tmp_path_factory.mktemp("small") / "environment"
    venv.create(place, with_pip=False, symlinks=True)
    (site,) = place.glob("lib/python*/site-packages")
    for package in with_requirements(PACKAGES):
        for file in package.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                link = site / file
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.locate())
    return place / "bin" / "python"


@pytest.fixture(scope="session")
def told(small_python: Path) -> Callable[..., list[dict]]:
    """(script, paths) -> the predictions that it prints, in the environment of `small_python`."""

    def run(script: Path, *paths: object) -> list[dict]:
        words = [str(small_python), str(script), "--json", *map(str, paths)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["predictions"]

    return run
