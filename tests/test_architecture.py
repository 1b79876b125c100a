"""Imports point downward only: read from the import lines, so that an arrow up, sideways or in a circle fails."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "danlu"

# Room -> floor. A room may import rooms of lower floors, and its own files.
FLOORS = {
    "message": 0, "task_spec": 0, "refuse": 1, "objects": 1,
    "config": 2,
    "run": 3, "learning": 3, "data": 3, "models": 3, "metrics": 3, "inspection": 3, "doctor": 3,
    "detection": 4,
    "tasks": 5,
    "engine": 6, "report": 6,
    "preparation": 7,
    "advice": 8, "printing": 8, "inference": 8,
    "analysis": 9, "training": 9,
    "healing": 10,
    "console": 11,
    "cli": 12, "__init__": 12, "__main__": 13,
}  # fmt: skip
# Rooms that others may use without the rest of danlu: all they may import of it.
ALONE = {
    "doctor": {"refuse", "message"},
    "inspection": {"refuse", "message"},
    "metrics": {"objects", "refuse", "message"},
}


def module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


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


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_run_downward(path: Path) -> None:
    room = module(path).split(".")[0]
    assert room in FLOORS, f"{room} has no floor: name it in FLOORS"
    for name in imports(path):
        other = name.split(".")[0]
        if other == room or not other or other.startswith("__"):
            continue
        allowed = ALONE.get(room)
        assert allowed is None or other in allowed, f"{module(path)} imports {name}; {room} may only use {allowed}"
        assert FLOORS[other] < FLOORS[room], (
            f"{module(path)} (floor {FLOORS[room]}) imports {name} (floor {FLOORS[other]})"
        )


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
