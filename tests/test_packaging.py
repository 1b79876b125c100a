"""Files that are no Python code lie in the wheels only if `package-data` names them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "danlu"
DISTRIBUTIONS = {
    "danlu": (ROOT / "pyproject.toml", SOURCE),
    "danlu_doctor": (ROOT / "packages" / "danlu-doctor" / "pyproject.toml", SOURCE / "doctor"),
}


@pytest.mark.parametrize("package", DISTRIBUTIONS)
def test_each_file_beside_the_code_is_in_the_wheel(package: str) -> None:
    project, folder = DISTRIBUTIONS[package]
    patterns = tomllib.loads(project.read_text())["tool"]["setuptools"]["package-data"][package]
    packed = {file for pattern in patterns for file in SOURCE.glob(pattern)}
    beside = {file for file in folder.rglob("*") if file.is_file() and file.suffix not in (".py", ".pyc", ".pyi")}
    assert beside
    assert not beside - packed
