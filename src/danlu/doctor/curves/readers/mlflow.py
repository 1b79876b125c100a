"""MLflow's file store: a run's folder with meta.yaml and metrics/, one file per metric of lines "time value step"."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from danlu.doctor.curves.log import Collector, Curves, Reader, as_number


def look(path: Path) -> str | None:
    """Evidence of a run folder: one of the first 20 metric files begins with a line of three numbers."""
    folder = path / "metrics"
    if not folder.is_dir():
        return None
    for file in islice(_files(folder), 20):
        with file.open(encoding="utf-8", errors="replace") as lines:
            cells = lines.readline().split()
        if len(cells) == 3 and all(as_number(cell) is not None for cell in cells):
            return f'file metrics/{file.relative_to(folder).as_posix()} with lines "time value step"'
    return None


def read(path: Path) -> tuple[str, Curves]:
    """Curves by step, one per file; lines without three values are left out."""
    collector, folder = Collector(), path / "metrics"
    for file in _files(folder):
        name = file.relative_to(folder).as_posix()
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            cells = line.split()
            step = as_number(cells[2]) if len(cells) == 3 else None
            if step is not None:
                collector.add(name, step, cells[1])
    return "step", collector.curves


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


READER = Reader("MLflow", "mlruns/EXPERIMENT/RUN of the file store", look, read, order=10, files=False, folders=True)
