"""Count the layouts of annotated images that danlu, datumaro and supervision read right.

    python benchmarks/formats/read.py           # creates .venv-formats with the packages of formats/peers.txt

A layout is right where every image has all its objects, with their classes and their boxes within 1.5 pixels (a pixel
for tools that count from 1, half for rounding), and no others. Prints a table and writes it to
benchmarks/results/formats.md.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import venv
import warnings
from collections.abc import Mapping
from pathlib import Path

from layouts import LAYOUTS, Truth
from readers import READERS, Found

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENT = ROOT / ".venv-formats"
TOLERANCE = 1.5  # pixels of each corner
PEERS = [name for name in READERS if name != "danlu"]


def verdict(found: list[Found], truth: Truth) -> str:
    """ "right", or the number of objects that were found of all."""
    if any(_right(one, truth) for one in found):
        return "right"
    count = sum(map(len, found[0].values())) if found else 0
    return (
        f"{count} of {sum(map(len, truth.values()))} objects"
        if count != sum(map(len, truth.values()))
        else "other boxes"
    )


def _right(found: Found, truth: Truth) -> bool:
    own = {key: rows for key, rows in found.items() if rows}
    wanted = {key: rows for key, rows in truth.items() if rows}
    if len(own) != len(wanted):
        return False
    return all(any(_is(name, key) and _same(rows, own[key]) for key in own) for name, rows in wanted.items())


def _is(name: str, key: str) -> bool:
    """Whether a key of a library, with or without folders and extension, is the image of this name."""
    stem = str(Path(name).with_suffix(""))
    plain = key if Path(key).suffix.lower() not in (".jpg", ".png") else str(Path(key).with_suffix(""))
    return f"/{plain}".endswith(f"/{stem}") or f"/{stem}".endswith(f"/{plain}")


def _same(wanted: list, found: list) -> bool:
    rest = list(found)
    for name, *box in wanted:
        fitting = [
            one for one in rest if name in ("", one[0]) and max(abs(a - b) for a, b in zip(box, one[1:])) <= TOLERANCE
        ]
        if not fitting:
            return False
        rest.remove(fitting[0])
    return not rest


def measure(names: list[str]) -> dict[str, dict[str, str]]:
    """Verdict of each reader on each layout."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    table: dict[str, dict[str, str]] = {}
    for layout, write in LAYOUTS.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place).resolve()
            truth = write(folder)
            for name in names:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    try:
                        result = verdict(READERS[name](folder, layout), truth)
                    except Exception as error:  # a library may fail in any way
                        result = type(error).__name__
                table.setdefault(layout, {})[name] = result
    return table


def measure_peers() -> dict[str, dict[str, str]]:
    """Verdicts of the other libraries, in an environment of their own."""
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "peers.txt"], check=True)
    command = [str(python), str(HERE / "read.py"), "--peers"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def render(table: Mapping[str, Mapping[str, str]]) -> str:
    """The table in Markdown, the number of right layouts in its last row."""
    names = list(READERS)
    lines = ["| layout | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    lines += [
        f"| {layout.replace('_', ' ')} | " + " | ".join(row[n] for n in names) + " |" for layout, row in table.items()
    ]
    right = [f"{sum(row[n] == 'right' for row in table.values())} of {len(table)}" for n in names]
    return "\n".join([*lines, "| **right** | " + " | ".join(right) + " |"]) + "\n"


def main() -> None:
    if "--peers" in sys.argv:
        sys.stdout.write(json.dumps(measure(PEERS)))
        return
    sys.path.insert(0, str(ROOT / "src"))
    own, others = measure(["danlu"]), measure_peers()
    text = render({layout: own[layout] | others[layout] for layout in LAYOUTS})
    target = ROOT / "benchmarks/results/formats.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
