"""Dropout keeps the mean and increases the variance; early and late dropout serve different purposes.

x becomes x/(1-p) with probability 1-p, else 0: the mean stays x, the variance grows by x^2 p/(1-p) (the lecture notes
claim that the variance is kept). Early dropout, active at the beginning of training only, is meant against underfitting;
late dropout, active afterwards, against overfitting (Liu et al. 2023). Here an MLP is trained on 200 digits.

    python experiments/dropout.py        14 s

Result: the measured variance follows p/(1-p) to 1 % and the mean stays 1. On the digits the four schedules end within 0.005 of
one another (validation loss 0.202 always, 0.202 early, 0.206 late, 0.207 none): no significant effect at this size.
"""

import numpy as np
import torch
from style import BLUE, GREEN, INK, ORANGE, note, panels, save, start
from torch import nn
from training import train

from danlu.message import message

WHEN = {"none": INK, "always": BLUE, "early": GREEN, "late": ORANGE}


def run(quick=False, epochs=60, seeds=4, p=0.5):
    epochs, seeds = (3, 1) if quick else (epochs, seeds)
    rates = np.linspace(0.05, 0.8, 16)
    seen = [nn.Dropout(rate)(torch.ones(200_000)) for rate in rates]
    curves = {}
    for when in WHEN:
        settings = {"model.dropout": 0.0 if when == "none" else p}
        if when in ("early", "late"):
            settings["regularise.dropout_when"] = when
        runs = [
            train(
                model="mlp",
                augment="none",
                epochs=epochs,
                seed=s,
                **settings,
                **{"data.limit": 200, "model.width": 512},
            )
            for s in range(seeds)
        ]
        curves[when] = np.mean([[[r["train.loss"], r["val.loss"]] for r in run["record"]] for run in runs], 0)

    figure, axes = panels(2)
    left, right = axes[0]
    left.plot(rates, rates / (1 - rates), "-", color=INK)
    left.plot(rates, [x.var().item() for x in seen], "o", color=BLUE)
    left.plot(rates, [x.mean().item() for x in seen], "o", color=ORANGE)
    left.set(xlabel="p", ylabel="of x = 1 after dropout", title="The mean stays, the variance grows")
    note(left, "mean", 0.1, 1.25, ORANGE)
    note(left, "variance, and p/(1-p)", 0.3, 2.2, BLUE)
    for when, colour in WHEN.items():
        losses = curves[when][:, 1]
        right.plot(range(1, epochs + 1), losses, "-", color=colour)
        note(right, f"{when} {losses[-1]:.3f}", epochs * 0.6, 0.9 - 0.09 * list(WHEN).index(when), colour)
    right.set(
        xlabel="epoch",
        ylabel="validation loss",
        title="200 digits, p = 0.5: no significant difference" if p == 0.5 else f"200 digits, p = {p:g}",
        xlim=(1, epochs),
        ylim=(0.15, 1.0),
    )
    save(figure, "dropout", quick)
    return {
        "mean": [x.mean().item() for x in seen],
        "variance": [x.var().item() for x in seen],
        "p/(1-p)": (rates / (1 - rates)).tolist(),
        "validation loss": {when: float(curve[-1, 1]) for when, curve in curves.items()},
        "training loss": {when: float(curve[-1, 0]) for when, curve in curves.items()},
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.dropout",
            "Mean and variance after dropout, and validation losses: the mean stays, the variance grows as p/(1-p).",
        ),
    )
