"""Score watchers on the planted faults: `python benchmarks/faults/score.py`.

Trains every case under each watcher, in two processes. Prints as Markdown, by default for the untuned half: faults
detected, correct cause ranked first, false alarms on healthy runs, and recall and precision per code. `--quick` is the
regression check: danlu only, on a fixed sample of the tuned half (checking every change on the untuned half would
gradually tune on it), without downloaded data; it exits with 1 if a bound of bounds.py is not met.

Detected: any finding. Right cause first: the most severe finding has a planted code or an equivalent code that no
measurement distinguishes. False alarm: a healthy run with an error or a warning (notes do not count). Recall of a code:
fraction of the runs with the planted code in which it is found. Precision: fraction of the runs with this error or
warning in which it is correct.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import multiprocessing
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import bounds
import torch
from baselines import AutoTrainer, Umlaut
from cases import Case, cases, quick, sample
from data import missing

ALARMS = ("error", "warning")


def doctor(model, optimizer, loss_fn):
    import danlu

    return danlu.watch(model, optimizer, loss_fn, quiet=True)


WATCHERS: dict[str, Callable] = {"danlu": doctor, "AutoTrainer": AutoTrainer, "UMLAUT": Umlaut}


@dataclass(frozen=True)
class Outcome:
    """Result of one case under one watcher: (code, severity) of its findings, most severe first."""

    watcher: str
    name: str
    half: str
    kind: str
    planted: tuple[str, ...]
    right: tuple[str, ...]
    found: tuple[tuple[str, str], ...]
    seconds: float
    broke: str = ""

    def alarms(self, code: str) -> bool:
        return any((code, severity) in self.found for severity in ALARMS)

    @property
    def detected(self) -> bool:
        return bool(self.found)

    @property
    def right_first(self) -> bool:
        return bool(self.found) and self.found[0][0] in self.right

    @property
    def false_alarm(self) -> bool:
        return self.kind == "healthy" and any(severity in ALARMS for _, severity in self.found)


def examine(watcher: str, case: Case) -> Outcome:
    """Train one case under one watcher. If a fault ends in an error, findings until then count."""
    held: list = []

    def watch(*arguments):
        held.append(WATCHERS[watcher](*arguments))
        return held[-1]

    start, broke = time.perf_counter(), ""
    loop = case.build().make()
    try:
        loop.run(watch)
    except Exception as error:  # a failing case must not end the others
        broke = f"{type(error).__name__}: {error}".splitlines()[0]
    found = tuple((one.code, one.severity) for one in (held[0].findings if held else ()))
    seconds = time.perf_counter() - start
    return Outcome(watcher, case.name, case.half, case.kind, case.codes, case.codes + case.also, found, seconds, broke)


def work(job: tuple[str, str, int]) -> Outcome:
    """Run the case with this index; workers build the same list of cases."""
    watcher, half, number = job
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler")  # caused by one of the faults
    give_back_memory()
    return examine(watcher, cases(half)[number])


def give_back_memory() -> None:
    """Return freed memory to the system (glibc), so that it does not hide the memory growth of the next run."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def outcomes(watchers: Iterable[str], half: str, chosen: list[Case], processes: int) -> list[Outcome]:
    keys = {(case.half, case.name) for case in chosen}
    numbers = [number for number, case in enumerate(cases(half)) if (case.half, case.name) in keys]
    jobs = [(watcher, half, number) for watcher in watchers for number in numbers]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return list(pool.imap_unordered(work, jobs, chunksize=8))


def fraction(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} % ({count}/{of})" if of else "-"


def summary(found: list[Outcome]) -> list[str]:
    lines = [
        "| watcher | detected | right cause first | healthy runs with a false alarm | seconds per run |",
        "|---|---|---|---|---|",
    ]
    for watcher in dict.fromkeys(one.watcher for one in found):
        mine = [one for one in found if one.watcher == watcher]
        faulty = [one for one in mine if one.kind != "healthy"]
        healthy = [one for one in mine if one.kind == "healthy"]
        lines.append(
            f"| {watcher} | {fraction(sum(one.detected for one in faulty), len(faulty))} "
            f"| {fraction(sum(one.right_first for one in faulty), len(faulty))} "
            f"| {fraction(sum(one.false_alarm for one in healthy), len(healthy))} "
            f"| {sum(one.seconds for one in mine) / len(mine):.2f} |"
        )
    return lines


def per_code(found: list[Outcome]) -> list[str]:
    """Format recall and precision of every planted or found code, per watcher."""
    watchers = list(dict.fromkeys(one.watcher for one in found))
    codes = sorted({code for one in found for code in one.planted} | {code for one in found for code, _ in one.found})
    lines = ["| code | cases | " + " | ".join(f"{w} recall | {w} precision" for w in watchers) + " |"]
    lines.append("|---|---|" + "---|" * (2 * len(watchers)))
    for code in codes:
        planted = [one for one in found if code in one.planted]
        cells = [f"| {code} | {len(planted) // len(watchers)} "]
        for watcher in watchers:
            mine = [one for one in planted if one.watcher == watcher]
            named = [one for one in found if one.watcher == watcher and one.alarms(code)]
            hit = sum(any(code == other for other, _ in one.found) for one in mine)
            cells.append(f"| {ratio(hit, len(mine))} | {ratio(sum(code in one.right for one in named), len(named))} ")
        lines.append("".join(cells) + "|")
    return lines


def ratio(count: int, of: int) -> str:
    return f"{count / of:.2f}" if of else "-"


def misses(found: list[Outcome], watcher: str) -> list[str]:
    """List every run the watcher got wrong, with its findings."""
    lines = []
    for one in found:
        fine = not one.false_alarm if one.kind == "healthy" else one.right_first
        if one.watcher != watcher or fine:
            continue
        said = ", ".join(f"{code} ({severity})" for code, severity in one.found[:5]) or "nothing"
        wanted = " + ".join(one.planted) or "nothing"
        broke = f"; broke: {one.broke}" if one.broke else ""
        lines.append(f"- {one.half}: {one.name}: wanted {wanted}, said {said}{broke}")
    return sorted(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Score watchers on planted faults.")
    parser.add_argument("--half", choices=("tuned", "untuned", "all"), default="untuned")
    parser.add_argument("--quick", action="store_true", help="regression check: danlu on a fixed sample, with bounds")
    parser.add_argument("--sample", type=float, metavar="FRACTION", help="a random fraction of the cases, e.g. 0.33")
    parser.add_argument("--seed", type=int, default=0, help="random seed of --sample (default: 0)")
    parser.add_argument("--watchers", nargs="+", choices=list(WATCHERS), default=list(WATCHERS))
    parser.add_argument("--misses", action="store_true", help="list every run got wrong, by the first watcher")
    parser.add_argument("--processes", type=int, default=2, help="workers of one thread each (default: 2)")
    parser.add_argument("--json", metavar="FILE", help="write all outcomes to this file")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.half, arguments.watchers, arguments.misses = "tuned", ["danlu"], True
        os.environ["DANLU_DATA"] = os.devnull  # the same cases everywhere
    chosen = cases(arguments.half)
    if arguments.quick:
        chosen = quick(chosen)
    elif arguments.sample:
        chosen = sample(chosen, arguments.sample, arguments.seed)
    start = time.perf_counter()
    found = outcomes(arguments.watchers, arguments.half, chosen, arguments.processes)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([asdict(one) for one in found], indent=1))
    kinds = Counter(case.kind for case in chosen)
    part = ", quick" if arguments.quick else ""
    if arguments.sample:
        part = f", a sample of {arguments.sample:g} by seed {arguments.seed}"
    print(
        f"Planted faults, {arguments.half} half{part}: {kinds['fault']} faulty runs, "
        f"{kinds['pair']} with two faults, {kinds['healthy']} healthy; {time.perf_counter() - start:.0f} s."
    )
    if missing() and not arguments.quick:
        print(f"Left out, data missing from $DANLU_DATA: {', '.join(missing())}.")
    print("", *summary(found), "", *per_code(found), sep="\n")
    if arguments.misses:
        print("", *misses(found, arguments.watchers[0]), sep="\n")
    broken = bounds.broken(found) if arguments.quick else []
    if broken:
        print("", "Broken bounds:", *(f"- {one}" for one in broken), sep="\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
