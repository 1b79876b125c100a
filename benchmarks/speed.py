"""Compare training speed with other trainers on one machine: `python benchmarks/speed.py` or `make bench`.

Each contender is a process that stays warm. Contenders take turns, one round at a time in a rotating order, so that
drift in machine speed affects all of them equally. The page shows medians over the rounds; a ratio is the median of
the ratios within each round. The timed code is in contenders/, one small file each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from material import write_arrays, write_photographs
from start_up import table as start_up_table

import danlu

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "speed.md"
PEERS = HERE.parent / ".venv-peers"
WORKERS = 2  # processes that decode JPEGs, on both sides
STARTS = 3  # fresh processes per contender: memory placement changes the speed of a process by about 10 %


NO_PEERS = "Lightning is missing: its environment could not be created."


class ContenderFailed(RuntimeError):
    """A contender could not be started or failed."""


@dataclass
class Contender:
    """One process that prepares once and then runs round by round; contenders/protocol.py has the protocol.

    rounds: figure -> its value in each round, in images per second.
    """

    name: str
    script: str
    job: dict[str, Any]
    python: str = sys.executable
    settings: str = ""
    rounds: dict[str, list[float]] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def start(self, folder: Path) -> None:
        """Start the process; return when it is ready."""
        self.log = folder / f"{self.name.replace(' ', '-').replace(',', '')}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [self.python, str(HERE / "contenders" / self.script), json.dumps(self.job)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.settings = self._answer()["settings"]
        self._send(signal.SIGSTOP)

    def work(self, counted: bool) -> None:
        """Run one round."""
        assert self.process
        assert self.process.stdin
        self._send(signal.SIGCONT)
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for figure, value in self._answer().items() if counted else ():
            self.rounds.setdefault(figure, []).append(value)
        self._send(signal.SIGSTOP)

    def stop(self) -> None:
        """Close its input and wait for it to exit."""
        if self.process is not None:
            self._send(signal.SIGCONT)
            self.process.communicate()

    def _send(self, number: int) -> None:
        """Signal the process and its workers; contenders out of turn are stopped, spinning threads included."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def _answer(self) -> dict[str, Any]:
        assert self.process
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            last = (self.log.read_text().strip().splitlines() or ["no output"])[-1]
            raise ContenderFailed(f"{self.name} failed: {last}")
        return json.loads(line)


@dataclass(frozen=True)
class Network:
    """A network on a known dataset. batches: timed batches per round; warm: untimed batches before them."""

    title: str
    model: str
    known: str
    side: int
    channels: int
    pad: int
    flip: bool
    batches: int
    classes: int = 10
    batch: int = 128
    warm: int = 10


NETWORKS = {
    "lenet": Network("LeNet on MNIST, random crop", "lenet", "mnist", 28, 1, 2, False, batches=150),
    "resnet20": Network("ResNet-20 on CIFAR-10, random crop and flip", "resnet20", "cifar10", 32, 3, 4, True, 40),
}
Ratios = tuple[tuple[str, str, float | None], ...]  # numerator, denominator, goal
TRAINING_RATIOS: Ratios = (
    ("danlu train", "limit", 0.95),
    ("danlu train", "danlu train, no doctor", None),
    ("danlu train", "Lightning", 4.0),
    ("danlu train", "plain PyTorch", None),
)
JPEG_RATIOS: Ratios = (
    ("danlu, workers decode", "torchvision", None),
    ("danlu, warm cache", "torchvision", None),
)


def peers_python(folder: Path) -> str:
    """Return the interpreter of the peers' environment; create it if it is missing or peers.txt has changed.

    A .pth file makes danlu and torch of this environment visible there, so that pip does not download torch (5 GB).
    """
    python, wanted, stamp = folder / "bin" / "python", HERE / "peers.txt", folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return str(python)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    packages, source = Path(torch.__file__).parents[1], Path(danlu.__file__).parents[1]
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "danlu_environment.pth").write_text(f"{packages}\n{source}\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)]
    subprocess.run(install, check=True)
    stamp.write_text(wanted.read_text())
    return str(python)


def compare(contenders: list[Contender], rounds: int, folder: Path, starts: int = 1) -> list[str]:
    """Fill the `rounds` of each contender from `starts` successive processes; return failure messages."""
    return [line for _ in range(starts) for line in _compare_once(contenders, rounds, folder)]


def _compare_once(contenders: list[Contender], rounds: int, folder: Path) -> list[str]:
    """Run rounds in turns after one warm-up round."""
    lost: list[str] = []
    with ExitStack() as processes:
        running = []
        for contender in contenders:
            say(f"  {contender.name} prepares")
            try:
                processes.callback(contender.stop)
                contender.start(folder)
                running.append(contender)
            except ContenderFailed as error:
                lost.append(str(error))
        for number in range(rounds + 1):
            say(f"  round {number} of {rounds}" if number else "  warming up")
            turn = number % max(len(running), 1)
            for contender in running[turn:] + running[:turn]:
                try:
                    contender.work(counted=number > 0)
                except ContenderFailed as error:
                    lost.append(str(error))
                    running.remove(contender)
    return lost


def run_network(network: Network, rounds: int, starts: int, python: str | None, folder: Path) -> str:
    """Measure one network: the limit, danlu, a plain loop, Lightning. Returns its section."""
    data = folder / f"{network.known}.npz"
    count = (network.batches + network.warm) * network.batch * 5 // 4  # one fifth goes to validation
    said = write_arrays(network.known, network.side, network.channels, count, data)
    job = vars(network) | {"data": str(data), "folder": str(folder)}
    contenders = [
        Contender("limit", "limit.py", job),
        Contender("danlu train", "with_danlu.py", job),
        Contender("danlu train, no doctor", "with_danlu.py", job | {"doctor": 0}),
        Contender("plain PyTorch", "plain_torch.py", job),
    ]
    if python:
        contenders.append(Contender("Lightning", "with_lightning.py", job, python))
    lost = compare(contenders, rounds, folder, starts) + ([] if python else [NO_PEERS])
    facts = f"{said}; {network.batches} batches of {network.batch} per round, {starts} x {rounds} rounds."
    return chapter(network.title, facts, contenders, TRAINING_RATIOS, lost)


def run_jpeg(images: int, rounds: int, starts: int, folder: Path) -> str:
    """Measure the input pipeline for JPEG folders. Returns its section."""
    data = folder / "photographs"
    said = write_photographs(data, images)
    job = {"data": str(data), "size": 224, "batch": 64, "workers": WORKERS, "cache": None}
    contenders = [
        Contender("danlu, workers decode", "jpeg_danlu.py", job),
        Contender("danlu, warm cache", "jpeg_danlu.py", job | {"cache": str(folder / "cache")}),
        Contender("torchvision", "jpeg_torchvision.py", job),
    ]
    lost = compare(contenders, rounds, folder, starts)
    facts = f"{said}; one pass per round in batches of 64, {starts} x {rounds} rounds; no network."
    return chapter("224-pixel JPEG folders: input pipeline", facts, contenders, JPEG_RATIOS, lost)


def chapter(title: str, facts: str, contenders: list[Contender], wanted: Ratios, lost: list[str]) -> str:
    """Format one section of the page as Markdown. lost: messages on missing contenders."""
    parts = ["\n".join(table(contenders)), "\n".join(ratios(contenders, wanted)), *lost]
    return "\n\n".join([f"## {title}", facts, *parts])


def table(contenders: list[Contender]) -> list[str]:
    """Format one row per figure, in images per second."""
    lines = ["| | images/s, median | min - max | settings |", "|---|---|---|---|"]
    for contender in contenders:
        for figure, values in contender.rounds.items():
            name = contender.name if figure == "images_per_second" else f"{contender.name}, {figure}"
            spread = f"{min(values):,.0f} - {max(values):,.0f}"
            lines.append(f"| {name} | {median(values):,.0f} | {spread} | {contender.settings} |")
    return lines


def ratios(contenders: list[Contender], wanted: Ratios) -> list[str]:
    """Format the medians of the ratios within each round."""
    speeds = {c.name: c.rounds["images_per_second"] for c in contenders if c.rounds}
    lines = ["| ratio | median | min - max | goal |", "|---|---|---|---|"]
    for upper, lower, goal in wanted:
        if upper in speeds and lower in speeds:
            values = [a / b for a, b in zip(speeds[upper], speeds[lower])]
            reached = "" if goal is None else f">= {goal:g}, {'reached' if median(values) >= goal else 'missed'}"
            spread = f"{min(values):.2f} - {max(values):.2f}"
            lines.append(f"| {upper} / {lower} | {median(values):.2f} | {spread} | {reached} |")
    return lines


def circumstances(python: str | None, quick: bool) -> str:
    """Describe machine, versions, threads and load."""
    names = [line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")]
    load = os.getloadavg()[0]
    lightning = ""
    if python:
        ask = [python, "-c", "from importlib.metadata import version; print(version('lightning'))"]
        lightning = f", Lightning {subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()}"
    lines = [
        "# Speed",
        "",
        f"Machine: {names[0] if names else platform.processor()}, {os.cpu_count()} cores, no accelerator used; "
        f"torch uses {torch.get_num_threads()} threads; load before the run {load:.1f}"
        + (" (BUSY: do not trust the figures)." if load > 0.5 else "."),
        f"Versions: Python {platform.python_version()}, danlu {version('danlu')}, torch {torch.__version__}, "
        f"torchvision {version('torchvision')}{lightning}.",
    ]
    return "\n".join(lines + ["", "QUICK: a test of the script, too short to measure."] * quick)


def _cpu_lines() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    events = [*NETWORKS, "jpeg", "startup"]
    parser.add_argument("--only", action="append", choices=events, help="this section only; may be repeated")
    parser.add_argument("--rounds", type=int, default=7, help=f"measured rounds of each of {STARTS} processes [7]")
    parser.add_argument("--quick", action="store_true", help="two tiny rounds, to test the script")
    parser.add_argument("--peers", type=Path, default=PEERS, help="environment of the peers [.venv-peers]")
    options = parser.parse_args()
    only, rounds, starts = options.only or events, options.rounds, STARTS
    if options.quick:
        rounds, starts = 2, 1
    python = None
    if NETWORKS.keys() & set(only):
        try:
            python = peers_python(options.peers)
        except (OSError, subprocess.CalledProcessError) as error:
            say(f"Lightning is left out: {error}")
    parts = [circumstances(python, options.quick)]
    with tempfile.TemporaryDirectory(prefix="danlu-bench-") as made:
        folder = Path(made)
        for name in only:
            say(f"{name}:")
            if name == "startup":
                parts.append(start_up_table(runs=3 if options.quick else 10))
            elif name == "jpeg":
                parts.append(run_jpeg(150 if options.quick else 600, rounds, starts, folder))
            else:
                network = NETWORKS[name]
                tiny = replace(network, batches=network.batches // 10, warm=2)
                parts.append(run_network(tiny if options.quick else network, rounds, starts, python, folder))
            print(parts[-1], end="\n\n", flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    say(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
