"""Do the healthy runs learn, and do the faulty ones suffer? Runs cases without any watcher and says which do not.

A healthy run reaches its floor, does not overfit (last validation loss at most 1.3 x the best) and has settled. A
faulty one with proof "score" ends visibly below its sound twin of the same seed; with proof "overfit" its validation
loss has risen well above its best; with proof "crash" it raises an error; with proof "code" the fault stands
in the program, whatever the score.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings

import torch
from cases import Case, cases
from loop import Setup

OVERFIT = 1.3  # last validation loss against the best; relative, for losses above SMALL
SMALL = 0.05  # below such a loss the ratio says nothing
RISES = 1.08  # of a run that overfits: its last validation loss against its best
UNSETTLED = 0.03  # gain of the score over the last quarter of the epochs
SUFFERS = 0.02  # loss of score against the twin

twins: dict[tuple[str, int], float] = {}  # scores of sound twins already trained


def trained(setup: Setup) -> list[dict[str, float]] | str:
    """The history, or the error that ended the run."""
    try:
        return setup.make().run()
    except (RuntimeError, IndexError, ValueError) as error:
        return str(error).splitlines()[0]


def score(history: list[dict[str, float]]) -> float:
    last = history[-1]
    return last["val_accuracy"] if "val_accuracy" in last else last["val_r2"]


def twin_score(case: Case) -> float:
    key = (case.twin.name, case.twin.seed)
    if key not in twins:
        twins[key] = score(case.twin.make().run())
    return twins[key]


def objection(case: Case) -> str:
    """What is wrong with the case as a case, "" when nothing is."""
    history = trained(case.build())
    if case.proof == "crash":
        return "" if isinstance(history, str) else "it runs through"
    if isinstance(history, str):
        return f"it breaks off: {history}"
    return unsound(case, history) if case.kind == "healthy" else unharmed(case, history)


def unsound(case: Case, history: list[dict[str, float]]) -> str:
    final, losses = score(history), [row["val_loss"] for row in history]
    if not final >= case.twin.floor:
        return f"ends at {final:.3f}, below {case.twin.floor}"
    if losses[-1] > max(OVERFIT * min(losses), min(losses) + SMALL):
        return f"overfits: validation loss {losses[-1]:.3f} against {min(losses):.3f}"
    late = len(history) - max(2, len(history) // 4)
    if final - max(score(history[: i + 1]) for i in range(late)) > UNSETTLED:
        return f"has not settled: {score(history[:late]):.3f} to {final:.3f}"
    return ""


def unharmed(case: Case, history: list[dict[str, float]]) -> str:
    final = score(history)
    if case.proof == "code" or not math.isfinite(final) or not math.isfinite(history[-1]["val_loss"]):
        return ""
    if case.proof == "overfit":
        losses = [row["val_loss"] for row in history]
        rises = losses[-1] > RISES * min(losses)
        return "" if rises else f"validation loss {losses[-1]:.3f}, best {min(losses):.3f}"
    twin = twin_score(case)
    return "" if final < twin - SUFFERS else f"ends at {final:.3f}, its sound twin at {twin:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("tuned", "untuned", "all"), default="all")
    parser.add_argument("--part", default="0/1", help="i/n: every n-th case from i on")
    parser.add_argument("--name", default="", help="only cases whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler")  # one of the faults
    first, step = map(int, arguments.part.split("/"))
    chosen = [case for case in cases(arguments.half) if arguments.name in case.name][first::step]
    start, wrong = time.perf_counter(), 0
    for case in chosen:
        begun = time.perf_counter()
        reason = objection(case)
        wrong += bool(reason)
        seconds = time.perf_counter() - begun
        if reason or seconds > 5:
            print(f"{case.half:8} {case.name}: {reason or 'sound, but slow'} ({seconds:.1f} s)", flush=True)
    print(f"{len(chosen)} cases, {wrong} to be mended, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
