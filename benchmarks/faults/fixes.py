"""Does the first fix help? `python benchmarks/faults/fixes.py` applies the code of the first finding to planted faults.

Each planted fault that lowers the validation score is trained under the doctor. The code to paste of its first finding
is executed where a user would paste it, in a new training of the same program with the same seed, and the scores are
compared: with the fault, with the fix, and without the fault. Where a finding has no code, or its code is an example of
a network, the case is listed and not counted.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from cases import Case, cases
from loop import Loop
from programs import Program
from torch import nn
from verify import MIN_LOSS_OF_SCORE, score

import danlu

EXAMPLES = (
    "model.no_nonlinearity",
    "model.too_small",
    "model.bias_before_norm",
    "norm.small_batch",
    "gradient.vanishing",
)
EXAMPLES += ("model.mixes_samples", "model.random_in_eval", "model.unregistered", "model.sees_future")
# Where the code is pasted; "start" for all others.
STEP = ("loop.missing_zero_grad", "loop.wrong_sign", "gradient.exploding", "loop.no_update")
WHOLE = ("optim.oscillation", "loop.scheduler_misuse", "optim.no_warmup", "loop.optimizer_recreated")
DIAGNOSTIC = ("fit.not_learning", "fit.overfitting", "fit.trained_too_long", "data.label_noise")  # it changes nothing


@dataclass(frozen=True)
class Row:
    """Scores of one case; `first` is the code of the first finding."""

    name: str
    first: str
    bad: float
    fixed: float
    healthy: float
    applied: str

    @property
    def verdict(self) -> str:
        if not self.applied.startswith("at"):
            return self.applied
        if math.isnan(self.bad) and not math.isnan(self.fixed):
            return "better"
        if math.isnan(self.fixed) or self.fixed < self.bad - MIN_LOSS_OF_SCORE:
            return "worse"
        return "better" if self.fixed > self.bad + MIN_LOSS_OF_SCORE else "no change"


def names_of(loop: Loop) -> dict[str, Any]:
    """The names that the code to paste may use, from a training."""
    data = loop.data
    names = {"torch": torch, "nn": nn, "F": F, "np": np, "model": loop.model, "optimizer": loop.optimizer}
    names |= {"loss_fn": loop.loss_fn, "epochs": loop.setup.epochs, "loader": loop.train_loader, "device": "cpu"}
    names |= {"scheduler": loop.scheduler, "dataset": torch.utils.data.TensorDataset(data.x, data.y)}
    return names | {"x_train": data.x, "y_train": data.y, "x_val": data.x_val, "y_val": data.y_val, "images": data.x}


def with_start(loop: Loop, snippet: str) -> None:
    """Run the code before the training, and take over what it changed."""
    names = names_of(loop)
    exec(snippet, names)
    data = replace(loop.data, x=names["x_train"], y=names["y_train"], x_val=names["x_val"], y_val=names["y_val"])
    if data.y is not loop.data.y and data.y_val is loop.data.y_val and len(data.x) == len(loop.data.x):
        mean, std = names.get("mean"), names.get("std")
        if isinstance(mean, torch.Tensor) and isinstance(std, torch.Tensor):
            data = replace(data, y_val=(data.y_val - mean) / std)  # targets, by the statistics of training
        else:
            of_val = names_of(loop) | {"x_train": data.x_val, "y_train": data.y_val}
            exec(snippet, of_val)
            data = replace(data, y_val=of_val["y_train"])
    changed = data.x is not loop.data.x or data.y is not loop.data.y or data.y_val is not loop.data.y_val
    loop.data = data
    if changed:
        loop.train_loader, loop.val_loader = loop.make_loaders()
    if names["loader"] is not loop.train_loader and isinstance(names["loader"], torch.utils.data.DataLoader):
        loop.train_loader = names["loader"]
    if names["optimizer"] is not loop.optimizer:
        loop.optimizer = names["optimizer"]
        loop.scheduler = loop.setup.schedule(loop.optimizer, loop.setup.epochs, len(loop.train_loader))
    if [group["lr"] for group in loop.optimizer.param_groups] != [
        group.get("initial_lr") for group in loop.optimizer.param_groups
    ]:
        for group in loop.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        loop.scheduler = loop.setup.schedule(loop.optimizer, loop.setup.epochs, len(loop.train_loader))
    loop.model, loop.loss_fn = names["model"], names["loss_fn"]


def with_step(loop: Loop, snippet: str) -> None:
    """Run the code in place of a training step."""
    code = compile(snippet, "step", "exec")

    def train_step(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        names = names_of(loop) | {"x": x, "y": y}
        if "zero_grad" not in snippet:
            loop.optimizer.zero_grad()
            names["loss"] = loop.loss_fn(loop.model(x), y)
        exec(code, names)
        with torch.no_grad():
            return names["loss"].detach(), loop.model(x)

    loop.train_step = train_step  # type: ignore[method-assign]


def with_mode(loop: Loop, snippet: str) -> None:
    """Run the code before each training, or each validation, loop."""
    place = "begin_validation" if "eval" in snippet else "begin_training"
    setattr(loop, place, lambda: exec(snippet, names_of(loop)))


def place_of(code: str) -> tuple[str, Callable[[Loop, str], None] | None]:
    if code in STEP:
        return "at the step", with_step
    if code == "loop.wrong_mode":
        return "at the loop", with_mode
    return ("at the whole loop", None) if code in WHOLE else ("at the start", with_start)


def fixed_score(case: Case, code: str, snippet: str) -> float:
    """Validation score of the case with the code applied; NaN where it fails."""
    loop = case.build().make()
    _, apply = place_of(code)
    try:
        if apply is None:
            exec(snippet, names_of(loop))
            loop.history.append(dict(zip(("val_loss", f"val_{loop.score_name}"), loop.validate())))
            return score(loop.history)
        apply(loop, snippet)
        return score(loop.run())
    except (RuntimeError, IndexError, ValueError) as error:
        print(f"   {case.name}: {error}".splitlines()[0])
        return math.nan


def judged(case: Case) -> Row:
    held: list[Any] = []
    watch = lambda *arguments: held.append(danlu.watch(*arguments, quiet=True)) or held[0]  # noqa: E731
    try:
        bad = score(case.build().make().run(watch))
    except (RuntimeError, IndexError, ValueError):
        bad = math.nan
    found = held[0].findings
    first, snippet = (found[0].code, found[0].snippet) if found else ("nothing", "")
    applied = place_of(first)[0]
    if not snippet or first in EXAMPLES + DIAGNOSTIC or "nn.ModuleList" in snippet:
        applied = "no code to apply"
    fixed = fixed_score(case, first, snippet) if applied.startswith("at") else math.nan
    return Row(case.name, first, bad, fixed, score(case.twin.make().run()), applied)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("tuned", "untuned"), default="tuned")
    parser.add_argument("--name", default="", help="only cases whose name contains this")
    parser.add_argument("--each", type=int, default=1, help="cases for each fault and strength [1]")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    faults: dict[str, list[Case]] = {}
    for case in cases(arguments.half):
        if case.kind == "fault" and case.proof in ("score", "crash") and not isinstance(case.twin, Program):
            if arguments.name not in case.name:
                continue
            faults.setdefault(case.name.partition(" / ")[0], []).append(case)
    print("| case | first finding | with the fault | fix applied | without the fault | verdict |\n" + "|---" * 6 + "|")
    rows = []
    for chosen in faults.values():
        for case in chosen[: arguments.each]:
            rows.append(row := judged(case))
            cells = [row.name, row.first, f"{row.bad:.3f}", f"{row.fixed:.3f}", f"{row.healthy:.3f}", row.verdict]
            print(f"| {' | '.join(cells)} |", flush=True)
    counted = [row for row in rows if row.applied.startswith("at")]
    print(f"\n{len(counted)} fixes applied: " + ", ".join(
        f"{sum(row.verdict == verdict for row in counted)} {verdict}" for verdict in ("better", "no change", "worse")
    ))  # fmt: skip


if __name__ == "__main__":
    main()
