"""Imports point downward only: read from the import lines, so that an arrow up, sideways or in a circle fails."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "danlu"

# Room -> floor. A room may import rooms of lower floors, and its own files.
FLOORS = {
    "message": 0, "progress": 1, "task_spec": 1, "refuse": 1, "objects": 1, "patch_grid": 1, "user_objects": 2, "listening": 2, "python_calls": 2, "several_inputs": 2,
    "pose": 2,
    "config": 2,
    "run": 3, "learning": 3, "data": 3, "models": 3, "metrics": 3, "inspection": 3, "doctor": 3,
    "detection": 4, "pretraining": 4,
    "tasks": 5,
    "segmentation": 5,
    "engine": 6, "report": 6,
    "preparation": 7, "own": 7, "loggers": 7,
    "advice": 8, "printing": 8, "inference": 8,
    "analysis": 9, "conversion": 9, "deployment": 9, "history": 9, "rendering": 9, "serving": 9, "training": 9,
    "following": 10, "healing": 10, "tuning": 10,
    "console": 11,
    "cli": 12, "__init__": 12, "__main__": 13,
}  # fmt: skip
# Rooms that others may use without the rest of danlu: all they may import of it.
ALONE = {
    "doctor": {"refuse", "message"},
    "inspection": {"refuse", "message"},
    "metrics": {"objects", "refuse", "message"},
}


def module(path: Path, source: Path = SOURCE) -> str:
    """Dotted name of a file relative to the package folder `source`."""
    return ".".join(path.relative_to(source).with_suffix("").parts)


def imports(path: Path) -> set[str]:
    """Modules of danlu that a file imports, anywhere in it; relative to danlu."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("danlu"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("danlu")}
    return {name.removeprefix("danlu").lstrip(".") for name in found}


FILES = sorted(SOURCE.rglob("*.py"))


def violations(path: Path, source: Path = SOURCE) -> list[str]:
    """Imports of a file that FLOORS or ALONE forbid, as sentences. source: folder of the package the file is in."""
    here = module(path, source)
    room = here.split(".")[0]
    if room not in FLOORS:
        return [f"{room} has no floor: name it in FLOORS"]
    found = []
    for name in sorted(imports(path)):
        other = name.split(".")[0]
        if other == room or not other or other.startswith("__"):
            continue
        allowed = ALONE.get(room)
        if allowed is not None and other not in allowed:
            found.append(f"{here} imports {name}; {room} may only use {sorted(allowed)}")
        elif FLOORS[other] >= FLOORS[room]:
            found.append(f"{here} (floor {FLOORS[room]}) imports {name} (floor {FLOORS[other]})")
    return found


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_run_downward(path: Path) -> None:
    assert violations(path) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("doctor/observation/budget.py", "from danlu.config import Config"),
        ("doctor/findings/optim/lr_too_high.py", "from danlu.run.folder import Run"),
        ("metrics/classification.py", "import danlu.config"),
        ("data/split.py", "from danlu.training.train import train"),
    ],
)
def test_a_forbidden_import_is_found(file: str, line: str, tmp_path: Path) -> None:
    """The doctor must not know danlu's settings: an import planted in a copy of a file is reported."""
    copy = tmp_path / "danlu" / file
    copy.parent.mkdir(parents=True)
    text = (SOURCE / file).read_text(encoding="utf-8")
    copy.write_text(text, encoding="utf-8")
    assert violations(copy, tmp_path / "danlu") == []
    copy.write_text(f"{text}\n{line}\n", encoding="utf-8")
    assert len(violations(copy, tmp_path / "danlu")) == 1


def test_no_circle_between_files() -> None:
    """Within a room as well: no file imports itself by way of others."""
    names = {module(path).removesuffix(".__init__") for path in FILES}
    arrows = {}
    for path in FILES:
        targets = set()
        for name in imports(path):
            while name and name not in names:
                name = name.rpartition(".")[0]  # "data.split.Split" is the file data.split  # noqa: PLW2901
            targets.add(name)
        arrows[module(path).removesuffix(".__init__")] = targets - {"", module(path).removesuffix(".__init__")}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in arrows.get(name, ()):
                visit(other, (*way, name))
            done.add(name)

    for name in arrows:
        visit(name, ())


def test_no_room_without_a_noun() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "common", "misc")]
