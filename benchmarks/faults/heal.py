"""Measure the fraction of planted bad settings that `danlu diagnose RUN --heal` repairs in runs of danlu.

    python benchmarks/faults/heal.py [--only NAME ...] [--budget SECONDS] [--out FILE.md]

Each case trains a healthy run and the same run with one bad setting, diagnoses and heals the bad run, and trains its
settings with the accepted changes again in full. Runs are compared on validation over the seeds below, paired by seed
with the same split. A case is repaired if the bad run was worse than the healthy one by more than the noise (Student's
t at 5 % times the standard error, at least one validation sample) and the healed run is not.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.console import Console

import danlu
from danlu.healing.trials import compare
from danlu.run.folder import Run

QUIET = Console(quiet=True)
SEEDS = (11, 12, 13)  # disjoint from the seeds that healing uses
PLAIN = {"device": "cpu", "precision": "fp32", "channels_last": False}
MLP = {"model": "mlp", "epochs": 15, "augment": "none"}
CNN = {"model": "small-cnn", "epochs": 6, "augment": "none", "model.dropout": None}
SIGMOID = {"model": "mlp", "model.width": "64,64,64,64,64", "epochs": 15, "augment": "none"}


@dataclass(frozen=True)
class Case:
    """Settings of a healthy run and the bad ones that override them. data: "digits" or "rings" (generated)."""

    name: str
    healthy: dict[str, Any]
    bad: dict[str, Any] = field(default_factory=dict)
    data: str = "digits"


RINGS = {"model": "mlp", "model.width": "32,32", "epochs": 30}
CASES = (
    Case("lr x 100 (adamw)", MLP, {"optim.lr": 0.3}),
    Case("lr x 1000 (adamw)", MLP, {"optim.lr": 3.0}),
    Case("lr x 100 (momentum)", MLP | {"optim.name": "momentum"}, {"optim.lr": 5.0}),
    Case("lr / 1000", MLP, {"optim.lr": 3e-6}),
    Case("lr / 100 (convolutions)", CNN, {"optim.lr": 3e-5}),
    Case("decay 10", MLP, {"optim.weight_decay": 10.0}),
    Case("decay 1 (momentum)", MLP | {"optim.name": "momentum"}, {"optim.weight_decay": 1.0}),
    Case("dropout 0.9", MLP, {"model.dropout": 0.9}),
    Case("momentum 0.999", MLP | {"optim.name": "momentum"}, {"optim.momentum": 0.999}),
    Case("zero first weights", MLP, {"model.init": "zero"}),
    Case("first weights x 50", MLP, {"model.init": "normal:2"}),
    Case("tiny first weights, deep", SIGMOID, {"model.init": "normal:0.001"}),
    Case("deep sigmoid net", SIGMOID, {"model.activation": "sigmoid"}),
    Case("linear in place of ReLU", RINGS, {"model.activation": "none"}, "rings"),
    Case("two hidden units", MLP, {"model.width": "2"}),
    Case("batch too large", MLP | {"optim.name": "momentum"}, {"batch_size": 1200, "schedule": "constant"}),
    Case("gradient always clipped", MLP | {"optim.name": "momentum"}, {"optim.clip_norm": 1e-3}),
    Case("augmentation too strong", MLP, {"augment.rotate": 180.0, "augment.erase": 1.0, "augment.shear": 60.0}),
    Case("no augmentation, few samples", MLP | {"augment": None, "data.limit": 150, "epochs": 60}, {"augment": "none"}),
    Case("class weights on one class", MLP, {"loss.class_weights": "200,1,1,1,1,1,1,1,1,1"}),
    Case("all but the head frozen", SIGMOID, {"transfer.freeze": "hidden"}),
    Case("lr x 1000 (table)", RINGS, {"optim.lr": 3.0}, "rings"),
    Case("lr x 100 (convolutions)", CNN, {"optim.lr": 0.3}),
    Case("lr / 1000 (momentum)", MLP | {"optim.name": "momentum"}, {"optim.lr": 5e-5}),
    Case("lr / 1000 (table)", RINGS, {"optim.lr": 2e-6}, "rings"),
    Case("decay 10 (convolutions)", CNN, {"optim.weight_decay": 10.0}),
    Case("decay 30 (table)", RINGS, {"optim.weight_decay": 30.0}, "rings"),
    Case("dropout 0.95 (convolutions)", CNN, {"model.dropout": 0.95}),
    Case("zero first weights (convolutions)", CNN, {"model.init": "zero"}),
    Case("first weights x 50, tanh", MLP | {"model.activation": "tanh"}, {"model.init": "normal:2"}),
    Case("gradient clipped by value", MLP | {"optim.name": "momentum"}, {"optim.clip_value": 1e-6}),
    Case("deep tanh net, tiny first weights", SIGMOID | {"model.activation": "tanh"}, {"model.init": "normal:0.001"}),
    Case("one hidden unit (table)", RINGS, {"model.width": "1"}, "rings"),
    Case("sigmoid convolutions at a small lr", CNN, {"model.activation": "sigmoid", "optim.lr": 3e-5}),
)  # fmt: skip
HEALTHY = (
    Case("healthy: digits, mlp", MLP),
    Case("healthy: digits, momentum", MLP | {"optim.name": "momentum"}),
    Case("healthy: digits, convolutions", CNN),
    Case("healthy: rings", RINGS, data="rings"),
)


def rings(folder: Path) -> str:
    """Generate two concentric rings as a table of 800 rows, not linearly separable."""
    rng = np.random.default_rng(0)
    inner = rng.integers(0, 2, 800)
    radius, angle = 1.0 + inner + rng.normal(0, 0.15, 800), rng.uniform(0, 2 * np.pi, 800)
    rows = [f"{r * np.cos(a):.4f},{r * np.sin(a):.4f},ring {k}" for r, a, k in zip(radius, angle, inner)]
    path = folder / "rings.csv"
    path.write_text("x,y,ring\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


def figures(data: str, settings: dict[str, Any], folder: Path, config: Path | None = None) -> list[float | None]:
    """Train once per seed of SEEDS on the split of seed 0; return validation accuracies, None if a training failed.

    config: settings of a run, overridden by `settings`.
    """
    found: list[float | None] = []
    for seed in SEEDS:
        try:
            where = str(folder / f"seed-{seed}")
            more = settings | {"seed": seed, "data.seed": 0}
            run = danlu.train(data, config=config, out=where, console=QUIET, **more)
            found.append(run.summary["metrics"]["val"]["accuracy"])
        except danlu.Failure:
            found.append(None)
    return found


def judge(case: Case, data: str, budget: float, folder: Path) -> dict[str, Any]:
    more = {"target": "ring"} if case.data == "rings" else {}
    healthy, bad = case.healthy | more, case.healthy | more | case.bad
    reference = figures(data, PLAIN | healthy, folder / "healthy")
    before = figures(data, PLAIN | bad, folder / "bad") if case.bad else reference
    began = time.perf_counter()
    with suppress(danlu.Failure):
        danlu.train(data, out=str(folder / "run"), console=QUIET, **PLAIN | bad)
    healed = danlu.heal(folder / "run", budget=budget)
    seconds = time.perf_counter() - began
    findings = [f for f in danlu.diagnose(folder / "run")["findings"] if f["severity"] != "note"]
    kept, config = healed["settings"], folder / "run" / "config.yaml"
    after = figures(data, kept, folder / "healed", config) if kept else before
    counts = Run.open(folder / "healthy" / f"seed-{SEEDS[0]}").summary["data"]["counts"]
    least = 1 / counts["val"]
    hurt = not case.bad or compare(reference, before, high=False, min_gain=least).better
    worse = compare(reference, after, high=False, min_gain=least).better
    return {
        "case": case.name,
        "healthy": reference,
        "bad": before,
        "healed": after,
        "hurt": hurt,
        "found": ", ".join(dict.fromkeys(f["code"] for f in findings)) or "nothing",
        "kept": " ".join(one["flags"] for one in healed["attempts"] if one["kept"]) or "nothing",
        "tried": len(healed["attempts"]),
        "repaired": hurt and not worse,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="cases whose name contains one of these")
    parser.add_argument("--budget", type=float, default=60.0, help="time of each healing in seconds [60]")
    parser.add_argument("--out", help="file for the table")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        sets = {"digits": "digits", "rings": rings(Path(scratch))}
        for number, case in enumerate(chosen([*CASES, *HEALTHY], given.only)):
            rows.append(judge(case, sets[case.data], given.budget, Path(scratch) / str(number)))
            print(line(rows[-1]), flush=True)
    text = table(rows)
    print(text)
    if given.out:
        Path(given.out).write_text(text, encoding="utf-8")


def chosen(cases: Iterable[Case], only: list[str] | None) -> list[Case]:
    return [case for case in cases if not only or any(word in case.name for word in only)]


def line(row: dict[str, Any]) -> str:
    shown = " | ".join(mean(row[key]) for key in ("healthy", "bad", "healed"))
    verdict = "yes" if row["repaired"] else "not hurt" if not row["hurt"] else "no"
    words = [row["case"], shown, row["found"], f"`{row['kept'][:80]}`", row["tried"], verdict, f"{row['seconds']:.0f}"]
    return f"| {' | '.join(map(str, words))} |"


def mean(values: list[float | None]) -> str:
    finished = [value for value in values if value is not None]
    broke = f" ({len(values) - len(finished)} failed)" if len(finished) < len(values) else ""
    return (f"{fmean(finished):.3f}" if finished else "-") + broke


def table(rows: list[dict[str, Any]]) -> str:
    planted = [row for row in rows if not row["case"].startswith("healthy")]
    hurt = [row for row in planted if row["hurt"]]
    healthy = [row for row in rows if row["case"].startswith("healthy")]
    left = sum(row["kept"] == "nothing" for row in healthy)
    head = ["case", "healthy", "bad", "healed", "findings", "kept", "tried", "repaired", "s"]
    said = f"repaired {sum(row['repaired'] for row in hurt)} of {len(hurt)} that were worse than the healthy run"
    if len(planted) > len(hurt):
        said += f" ({len(planted) - len(hurt)} planted settings did no measurable harm)"
    said += f"; {left} of {len(healthy)} healthy runs left unchanged" if healthy else ""
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *map(line, rows), "", said, ""])


if __name__ == "__main__":
    main()
