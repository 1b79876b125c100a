"""Run danlu on large and crowded input, and compare processor time, memory and files with stated bounds.

python benchmarks/load.py [--only NAME ...] [--scale 1.0] [--folder DIR]

Every command is a process of its own. Its time is the processor time of all its processes, import of torch included, so
that other programs do not change it; its memory is the peak of its largest process. The exit code is 1 if any row is
over a bound.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import numpy as np
from PIL import Image

PLAIN = "--epochs 1 --precision fp32 --channels-last false --device cpu"
POLL_SECONDS = 0.1
MIB = 1 << 20
SETTLED = 5  # epochs until caches and buffers have their size
MAX_SLOPE = 0.5  # MiB per epoch


@dataclass
class Row:
    """One measurement. seconds: of processor time. mib: peak memory. faults: sentences, empty if all is well."""

    name: str
    command: str
    seconds: float
    max_seconds: float
    mib: float
    max_mib: float
    wall: float
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def judge(self) -> Row:
        if self.seconds > self.max_seconds:
            self.faults.append(f"over {self.max_seconds:g} s")
        if self.mib > self.max_mib:
            self.faults.append(f"over {self.max_mib:g} MiB")
        return self


@dataclass
class Done:
    """A process that has ended: exit code, processor seconds, peak MiB, wall seconds, and its last line."""

    code: int
    seconds: float
    mib: float
    wall: float
    last: str


class Started:
    """A running `danlu WORDS...` in `folder`."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `wait`)
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "danlu", *words], cwd=folder, stdout=self.log, stderr=subprocess.STDOUT
        )

    def wait(self, look: Callable[[], None] = lambda: None) -> Done:
        """Wait for the end. look: called every POLL_SECONDS."""
        while True:
            pid, status, used = os.wait4(self.process.pid, os.WNOHANG)
            if pid:
                break
            look()
            time.sleep(POLL_SECONDS)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").splitlines() or [""]
        self.log.close()
        seconds, wall = used.ru_utime + used.ru_stime, time.monotonic() - self.began
        return Done(self.process.returncode, seconds, used.ru_maxrss / 1024, wall, lines[-1])


def measured(
    name: str, command: str, folder: Path, max_seconds: float, max_mib: float, look: Callable[[], None] = lambda: None
) -> Row:
    """Run one command, which must end with exit code 0."""
    done = Started(command.split(), folder).wait(look)
    row = Row(name, command, done.seconds, max_seconds, done.mib, max_mib, done.wall)
    if done.code != 0:
        row.faults.append(f"exit code {done.code}: {done.last}")
    return row.judge()


def write_images(folder: Path, count: int, side: int, classes: int) -> None:
    """Write PNG images in a folder per class; the images of a class have a mean brightness of their own."""
    noise = np.random.default_rng(0)
    for kind in range(classes):
        (folder / f"class{kind:04}").mkdir(parents=True)
    for number in range(count):
        kind = number % classes
        pixels = noise.normal(40 + 170 * kind / max(1, classes - 1), 20, (side, side)).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"class{kind:04}" / f"{number}.png")


def tiny_files(home: Path, scale: float) -> Iterator[Row]:
    """20,000 images of 8 x 8 pixels in 10 classes."""
    count = int(20_000 * scale)
    write_images(home / "tiny", count, 8, 10)
    yield measured(f"{count:,} tiny files", "describe tiny", home, 30, 1_000)
    train = f"train tiny --model lenet --size 12 --out tiny-run {PLAIN}"
    yield measured(f"{count:,} tiny files", train, home, 60, 1_500)


def predictions(home: Path, scale: float) -> Iterator[Row]:
    """2,000 images to predict, listed and with copies."""
    count = int(2_000 * scale)
    write_images(home / "unlabelled", count, 8, 1)
    if not (home / "tiny-run").exists():
        write_images(home / "few", 200, 8, 10)
        measured("", f"train few --model lenet --size 12 --out tiny-run {PLAIN}", home, 0, 0)
    name = f"{count:,} predictions"
    yield measured(name, "predict tiny-run unlabelled --csv table.csv", home, 20, 1_000)
    yield measured(name, "predict tiny-run unlabelled --out drawn", home, 30, 1_000)


def many_classes(home: Path, scale: float) -> Iterator[Row]:
    """2,000 classes of three images; the files of the run must stay small."""
    classes = int(2_000 * scale)
    write_images(home / "classes", 3 * classes, 8, classes)
    name = f"{classes:,} classes"
    yield measured(name, "describe classes", home, 30, 1_000)
    row = measured(name, f"train classes --model lenet --size 12 --out classes-run {PLAIN}", home, 60, 1_500)
    for file, max_mib in (("summary.json", 2), ("report.html", 8)):
        note_size(row, home / "classes-run" / file, max_mib)
    yield row
    yield measured(name, "evaluate classes-run", home, 40, 1_500)
    yield measured(name, "report classes-run", home, 40, 1_500)


def note_size(row: Row, file: Path, max_mib: float) -> None:
    """Add the size of a file to a row, and a fault if it is missing or too large."""
    if not file.exists():
        row.faults.append(f"no {file.name}")
        return
    mib = file.stat().st_size / MIB
    row.notes.append(f"{file.name} {mib:.2f} MiB (bound {max_mib:g})")
    if mib > max_mib:
        row.faults.append(f"{file.name} is over {max_mib:g} MiB")


def long_table(home: Path, scale: float) -> Iterator[Row]:
    """A csv file of 200,000 rows and 8 columns."""
    count, random_numbers = int(200_000 * scale), random.Random(0)
    with (home / "table.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*"abcdefg", "label"])
        for _ in range(count):
            values = [round(random_numbers.gauss(0, 1), 4) for _ in range(7)]
            rows.writerow([*values, "yes" if sum(values) > 0 else "no"])
    name = f"csv of {count:,} rows"
    yield measured(name, "describe table.csv --target label", home, 30, 1_000)
    yield measured(name, f"train table.csv --target label --out table-run {PLAIN}", home, 60, 1_500)
    yield measured(name, "diagnose table-run", home, 30, 1_500)


def wide_table(home: Path, scale: float) -> Iterator[Row]:
    """A table of 200 rows and 10,000 columns of numbers."""
    count, noise = int(10_000 * scale), np.random.default_rng(0)
    with (home / "wide.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*(f"c{i}" for i in range(count)), "label"])
        for values in noise.normal(size=(200, count)).round(4):
            rows.writerow([*values, "yes" if values.sum() > 0 else "no"])
    name = f"csv of {count:,} columns"
    yield measured(name, "describe wide.csv", home, 30, 1_500)
    yield measured(name, f"train wide.csv --out wide-run {PLAIN}", home, 60, 1_500)


def large_images(home: Path, scale: float) -> Iterator[Row]:
    """Two images of 12,000 x 12,000 pixels, png and jpg, beside ordinary ones."""
    side = int(12_000 * scale**0.5)
    write_images(home / "large", 20, 64, 2)
    ramp = np.add.outer(np.arange(side), np.arange(side)).astype(np.uint8)
    image = Image.fromarray(np.stack([ramp, ramp.T, ramp[::-1]], axis=-1))
    image.save(home / "large" / "class0000" / "large.png", compress_level=1)
    image.save(home / "large" / "class0001" / "large.jpg")
    name = f"{side:,} x {side:,} image"
    yield measured(name, "describe large", home, 60, 2_500)
    yield measured(name, f"train large --model lenet --size 32 --out large-run {PLAIN}", home, 60, 2_500)
    yield measured(name, "predict large-run large/class0000/large.png", home, 30, 2_500)


def memory_slope(home: Path, scale: float) -> Iterator[Row]:
    """Growth of memory over 40 epochs of digits, from the fifth on."""
    epochs = max(10, int(40 * scale))
    train = f"train digits --model small-cnn --out slope-run {PLAIN}".replace("--epochs 1", f"--epochs {epochs}")
    started, samples = Started(train.split(), home), list[tuple[int, float]]()
    metrics = home / "slope-run" / "metrics.jsonl"

    def look() -> None:
        try:
            done = metrics.read_bytes().count(b'"kind": "epoch"')
            pages = int(Path(f"/proc/{started.process.pid}/statm").read_text().split()[1])
        except (OSError, ValueError):
            return
        if SETTLED <= done < epochs:
            samples.append((done, pages * os.sysconf("SC_PAGE_SIZE") / MIB))

    done = started.wait(look)
    row = Row(f"{epochs} epochs", train, done.seconds, 120, done.mib, 1_500, done.wall)
    growth = slope(samples)
    row.notes.append(f"{growth:+.2f} MiB per epoch (bound {MAX_SLOPE:g})")
    if done.code != 0 or growth > MAX_SLOPE:
        row.faults.append(f"exit code {done.code}: {done.last}" if done.code else "memory grows")
    yield row.judge()


def slope(samples: Sequence[tuple[int, float]]) -> float:
    """Slope of the least-squares line through (epoch, MiB); 0 for fewer than two epochs."""
    if len({epoch for epoch, _ in samples}) < 2:
        return 0.0
    epochs, sizes = zip(*samples)
    return float(np.polyfit(epochs, sizes, 1)[0])


def at_once(commands: Iterable[str], folder: Path) -> list[Done]:
    """Run commands at the same time."""
    started = [Started(command.split(), folder) for command in commands]
    return [one.wait() for one in started]


def together(name: str, command: str, done: list[Done], max_seconds: float, max_mib: float) -> Row:
    """Row of several commands; its time is the mean of each, its memory the peak of the largest."""
    seconds, mib = mean(one.seconds for one in done), max(one.mib for one in done)
    row = Row(name, command, seconds, max_seconds, mib, max_mib, max(one.wall for one in done))
    codes = sorted(one.code for one in done)
    row.notes.append("exit codes " + ", ".join(f"{codes.count(code)} x {code}" for code in sorted(set(codes))))
    return row.judge()


def races(home: Path, scale: float) -> Iterator[Row]:
    """Commands that start at once: into one folder, into the default folder, and over the same data."""
    home.joinpath("races").mkdir()
    home, train = home / "races", f"train digits --model linear {PLAIN}"
    one = f"{train} --out one"
    done = at_once([one] * 2, home)
    row = together("two into one --out", one, done, 60, 1_500)
    if sorted(one.code for one in done) != [0, 2] or not (home / "one" / "report.html").exists():
        row.faults.append("not one whole run and one refusal: " + "; ".join(one.last for one in done))
    yield row
    count = max(2, int(10 * scale))
    row = together(f"{count} into the default", train, at_once([train] * count, home), 60, 1_500)
    whole = sorted(int(page.parent.name) for page in home.glob("runs/*/report.html"))
    if whole != list(range(1, count + 1)):
        row.faults.append(f"whole runs: {whole}")
    yield row
    write_images(home / "images", int(600 * scale) + 20, 16, 3)
    count = max(2, int(8 * scale))
    done = at_once(["describe images"] * count, home)
    row = together(f"{count} `danlu data` at once", "describe images", done, 30, 1_000)
    if any(one.code for one in done):
        row.faults.append("; ".join({one.last for one in done if one.code}))
    yield row


LOADS: dict[str, Callable[[Path, float], Iterator[Row]]] = {
    "files": tiny_files,
    "classes": many_classes,
    "table": long_table,
    "columns": wide_table,
    "image": large_images,
    "predictions": predictions,
    "slope": memory_slope,
    "races": races,
}


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown."""
    lines = [
        "| load | command | processor s (bound) | wall s | peak MiB (bound) | also | within |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        command = "`danlu " + row.command.replace(f" {PLAIN}", "") + "`"
        time_text, memory = f"{row.seconds:.1f} ({row.max_seconds:g})", f"{row.mib:,.0f} ({row.max_mib:,.0f})"
        within = "; ".join(row.faults) or "yes"
        cells = [row.name, command, time_text, f"{row.wall:.1f}", memory, "; ".join(row.notes), within]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(LOADS), default=list(LOADS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes; the bounds stay")
    parser.add_argument("--folder", type=Path, help="for data and runs, kept; a temporary one by default")
    given = parser.parse_args()
    home = given.folder or Path(tempfile.mkdtemp(prefix="danlu-load-"))
    home.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in given.only:
        for row in LOADS[name](home, given.scale):
            rows.append(row)
            print(f"{row.name}: {row.seconds:.1f} s, {row.mib:,.0f} MiB {row.faults or ''}", flush=True)
    print(table(rows))
    if given.folder is None:
        shutil.rmtree(home)
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
