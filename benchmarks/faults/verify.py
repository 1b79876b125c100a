"""Check without a watcher that healthy runs learn and planted faults do harm; list the cases that fail.

A healthy run reaches its floor, does not overfit (last validation loss at most 1.3 x the best) and has converged. A
faulty run with proof "score" ends measurably below its healthy twin of the same seed; with "overfit" its validation
loss ends above its best; with "crash" it raises an error; with "code" the fault is in the program, whatever the score.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings

import torch
from cases import Case, cases
from loop import Setup
from programs import Program

MAX_RISE = 1.3  # last validation loss over the best, for losses above SMALL_LOSS
SMALL_LOSS = 0.05  # below this loss the ratio is not meaningful
MIN_RISE = 1.08  # last validation loss over the best, in a run that overfits
MAX_LATE_GAIN = 0.03  # gain of the score over the last quarter of the epochs
MIN_LOSS_OF_SCORE = 0.02  # against the healthy twin

twins: dict[tuple[str, int], float] = {}  # scores of healthy twins already trained


def trained(setup: Setup | Program) -> list[dict[str, float]] | str:
    """Train; return the history, or the error that ended the run."""
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
    """Explain why the case is not valid; "" if it is."""
    history = trained(case.build())
    if case.proof == "crash":
        return "" if isinstance(history, str) else "no error raised"
    if isinstance(history, str):
        return f"fails: {history}"
    return invalid_healthy(case, history) if case.kind == "healthy" else invalid_fault(case, history)


def invalid_healthy(case: Case, history: list[dict[str, float]]) -> str:
    final, losses = score(history), [row["val_loss"] for row in history]
    if not final >= case.twin.floor:
        return f"ends at {final:.3f}, below {case.twin.floor}"
    if isinstance(case.twin, Program):
        return ""  # its score is of another kind for each program, and of a GAN it fluctuates
    if losses[-1] > max(MAX_RISE * min(losses), min(losses) + SMALL_LOSS):
        return f"overfits: validation loss {losses[-1]:.3f} against {min(losses):.3f}"
    late = len(history) - max(2, len(history) // 4)
    if final - max(score(history[: i + 1]) for i in range(late)) > MAX_LATE_GAIN:
        return f"has not converged: {score(history[:late]):.3f} to {final:.3f}"
    return ""


def invalid_fault(case: Case, history: list[dict[str, float]]) -> str:
    final = score(history)
    if case.proof == "code" or not math.isfinite(final) or not math.isfinite(history[-1]["val_loss"]):
        return ""
    if case.proof == "overfit":
        losses = [row["val_loss"] for row in history]
        rises = losses[-1] > MIN_RISE * min(losses)
        return "" if rises else f"validation loss {losses[-1]:.3f}, best {min(losses):.3f}"
    twin = twin_score(case)
    return "" if final < twin - MIN_LOSS_OF_SCORE else f"ends at {final:.3f}, its healthy twin at {twin:.3f}"


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
            print(f"{case.half:8} {case.name}: {reason or 'valid, but slow'} ({seconds:.1f} s)", flush=True)
    print(f"{len(chosen)} cases, {wrong} not valid, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
