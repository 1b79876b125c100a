"""Origin of a NaN: the doctor reruns the failing batch and reports operation, layer, step and sample.

A NaN loss may come from the data, a layer, the loss or divergence. Five small trainings on the digits fail in five ways.
The doctor watches each; when the loss is not finite, it checks in this order: the batch, the weights, every layer on
the same batch, the loss.

    python experiments/nan_autopsy.py        6 s

Result: the NaN pixel is found at its step, 20, in sample 17; the root of a negative number at step 26 in layer "middle", of
sample 28; the logarithm of zero at step 20, in 14 samples of 64; the overflow of float16; the learning rate as
divergence, after 3 steps.
"""

import math
import textwrap
from collections import OrderedDict

import torch
from style import INK, RED, panels, save, start
from torch import nn
from training import digits

import danlu
from danlu.message import language, message

BATCH = 64
SHOWN = ("step", "source", "layer", "reason", "samples")  # of the evidence


class Root(nn.Module):
    """Layer with a square root: NaN for negative inputs."""

    def forward(self, x):
        return torch.sqrt(x + 2.2)


class Own(nn.Module):
    """Cross entropy as the logarithm of a probability that underflows to zero."""

    def forward(self, said, true):
        return -torch.softmax(said, 1).log()[torch.arange(len(true)), true].mean()


def network(middle=None):
    torch.manual_seed(0)
    parts = {"flat": nn.Flatten(), "first": nn.Linear(64, 48), "middle": middle or nn.ReLU(), "last": nn.Linear(48, 10)}
    return nn.Sequential(OrderedDict(parts))


def cases(steps):
    """Map case name -> model, loss, learning rate, and change of the inputs at a step."""
    bad = steps // 2

    def spoil(step, x):
        if step == bad:
            x = x.clone()
            x[17, 0, 3, 4] = math.nan
        return x

    def loud(step, x, factor=400):
        return x * factor if step == bad else x

    def burst(step, x):
        return loud(step, x, 20_000)  # within float16, but the output of the first layer is not

    as_it_is = lambda step, x: x  # noqa: E731
    return {
        "NaN pixel": (network(), nn.CrossEntropyLoss(), 0.05, spoil),
        "root of a negative number": (network(Root()), nn.CrossEntropyLoss(), 0.05, as_it_is),
        "logarithm of zero": (network(), Own(), 0.05, loud),
        "float16 overflows": (network().half(), nn.CrossEntropyLoss(), 0.05, lambda step, x: burst(step, x).half()),
        "learning rate 500": (network(nn.Identity()), nn.MSELoss(), 500.0, as_it_is),
    }


def break_down(model, loss_fn, rate, change, steps):
    """Train until the loss is not finite; return losses and the doctor's finding on the NaN."""
    x, y = digits()[:2]
    optimizer, losses = torch.optim.SGD(model.parameters(), rate), []
    torch.manual_seed(0)
    order = torch.cat([torch.randperm(len(x)) for _ in range(1 + steps * BATCH // len(x))]).split(BATCH)
    with danlu.watch(model, optimizer, loss_fn, quiet=True, language=language()) as doctor:
        for step in range(1, steps + 1):
            rows = order[step - 1]
            true = nn.functional.one_hot(y[rows], 10).float() if isinstance(loss_fn, nn.MSELoss) else y[rows]
            loss = loss_fn(model(change(step, x[rows])), true)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    found = [f for f in doctor.findings if f.code in ("numerics.nonfinite", "numerics.half_range")]
    return losses, next(f.evidence for f in found if f.code == "numerics.nonfinite"), doctor.findings[0].code


def run(quick=False):
    steps = 32 if quick else 40
    seen = {name: break_down(*case, steps) for name, case in cases(steps).items()}

    figure, axes = panels(len(seen), width=13.4, height=4.2)
    for axis, (name, (losses, found, _)) in zip(axes[0], seen.items()):
        finite = [v if math.isfinite(v) else math.nan for v in losses]
        axis.plot(range(1, found["step"] + 1), finite[: found["step"]], "-", color=INK)
        if max(v for v in losses if math.isfinite(v)) > 100:
            axis.set_yscale("log")
        axis.axvline(found["step"], color=RED, linewidth=1.2)
        axis.set(xlim=(0, steps + 1), xlabel="step", title=name)
        below = axis.text(
            0.0, -0.27, wrapped_evidence(found), transform=axis.transAxes, fontsize=8.5, color=RED, va="top"
        )
        below.set_in_layout(False)
    axes[0, 0].set_ylabel("training loss")
    figure.get_layout_engine().set(rect=(0, 0.2, 1, 0.8))  # space for the finding
    save(figure, "nan_autopsy", quick)
    return {
        name: {key: found[key] for key in SHOWN if found.get(key)} | {"first finding": first}
        for name, (_, found, first) in seen.items()
    }


def wrapped_evidence(found):
    """Wrap the evidence of the finding into a few lines."""
    lines = [f"step {found['step']}, {found['source']} {found.get('layer', '')}".rstrip()]
    lines += textwrap.wrap(found["reason"], 36)
    if found.get("samples"):
        many = len(found["samples"]) > 4
        lines.append("samples " + ", ".join(map(str, found["samples"][:4])) + (", ..." if many else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.nan_autopsy",
            "First operation, layer, step and sample of five kinds of NaN, as the doctor reports them.",
        ),
    )
