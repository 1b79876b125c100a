"""Copy the doctor's source from the repository into `src/danlu_doctor` before each build.

The only source is `src/danlu` at the root of the repository. The copy has its own import name, so that `danlu` and
`danlu-doctor` can be installed side by side. A source distribution carries the copy and builds
without the repository.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src" / "danlu"
PACKAGE = HERE / "src" / "danlu_doctor"
COPIED = ("doctor", "refuse.py", "message.py", "py.typed")
TRANSLATED = ("doctor", "refuse")  # rooms
IMPORT = re.compile(r"^(\s*(?:from|import)\s+)danlu(?=[.\s])", re.MULTILINE)


def copy_source() -> None:
    """Fill the package from the repository, with `danlu` renamed to `danlu_doctor` in import lines."""
    for name in (*COPIED, "translations"):
        target = PACKAGE / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
    for name in COPIED:
        if (SOURCE / name).is_dir():
            shutil.copytree(SOURCE / name, PACKAGE / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(SOURCE / name, PACKAGE / name)
    for table in (table for room in TRANSLATED for table in SOURCE.glob(f"translations/*/{room}.toml")):
        target = PACKAGE / "translations" / table.parent.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(table, target)
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(IMPORT.sub(r"\1danlu_doctor", text), encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"', (SOURCE / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f'{SOURCE / "__init__.py"} has no line __version__ = "..."')
    (PACKAGE / "version.py").write_text(f'__version__ = "{found.group(1)}"\n', encoding="utf-8")


if SOURCE.is_dir():
    copy_source()
shutil.rmtree(HERE / "build" / "lib", ignore_errors=True)  # files deleted from the source must not stay in the wheel
setup()
