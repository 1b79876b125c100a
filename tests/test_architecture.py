"""Imports point downward only: read from the import lines, so that an arrow up, sideways or in a circle fails."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "danlu"

# Room -> floor. A room may import rooms of lower floors, and its own files.
FLOORS = {
    "language": 0, "config": 0, "refuse": 0, "objects": 0, "vocabulary": 0, "record": 0, "run": 0, "signature": 0,
    "data": 1, "models": 1, "metrics": 1, "losses": 1, "optim": 1, "schedules": 1, "regularise": 1, "sparse": 1,
    "inspection": 1, "doctor": 1,
    "detection": 2,
    "tasks": 3,
    "engine": 4, "report": 4,
    "choose": 5, "transfer": 5, "remedies": 5, "cures": 6, "prepare": 6, "assemble": 7,
    "verbs": 8,
    "cli": 9, "__init__": 9, "__main__": 10,
}  # fmt: skip
# The ground floor's own order.
GROUND = ["language", "objects", "vocabulary", "refuse", "config", "signature", "record", "run"]


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
        if room in GROUND and other in GROUND:
            assert GROUND.index(other) < GROUND.index(room), f"{path.name} imports {name}: up on the ground floor"
            continue
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
