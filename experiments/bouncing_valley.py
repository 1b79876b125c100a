"""A stalled training is not always at a critical point: it may oscillate between the walls of a valley.

The valley is f(x, y) = x²/20 + sqrt(1 + 25 y²) - 1: a gentle slope along x, steep walls of slope 5 along y, curvature 25 at the
bottom. A learning rate of 0.2 exceeds 2/25 = 0.08, so each step crosses to the other wall, and since the walls are straight,
this never ends. The loss stalls although the gradient is large, unlike at a minimum or saddle point. Two fixes: a third
of the learning rate from step 60 on, or averaging momentum, v <- (v + g) / 2, in which the two walls cancel.

    python experiments/bouncing_valley.py        2 s

Result: after 120 steps the oscillating run has a loss of 1.53 and a gradient of 4.6; successive updates have a cosine of
-1, and the doctor reports optim.oscillation. With the lower learning rate the loss is 0.14, with momentum, which keeps
the full learning rate along the floor, 0.024; the doctor reports nothing for either.
"""

import torch
from style import BLUE, GREEN, ORANGE, contours, note, panels, save, start
from torch import nn

import danlu
from danlu.message import message

LR, LOWER_LR, CUT_STEP, BETA = 0.2, 0.06, 60, 0.5
START = (-8.0, 0.9)


class Valley(nn.Module):
    """Model with a point as its parameter; the forward pass returns the height there."""

    def __init__(self):
        super().__init__()
        self.point = nn.Parameter(torch.tensor(START))

    def forward(self):
        x, y = self.point
        return x.square() / 20 + (1 + 25 * y.square()).sqrt() - 1


def height(x, y):
    return x**2 / 20 + (1 + 25 * y**2) ** 0.5 - 1


def descend(steps, momentum=0.0, cut=None):
    """Return points, losses, gradient norms, cosines of successive updates, and the codes of the findings."""
    model = Valley()
    descent = torch.optim.SGD(model.parameters(), LR, momentum=momentum, dampening=momentum)
    points, losses, norms = [model.point.tolist()], [], []
    with danlu.watch(model, descent, budget=1.0, quiet=True) as doctor:
        for step in range(steps):
            if step == cut:
                descent.param_groups[0]["lr"] = LOWER_LR
            descent.zero_grad()
            loss = model()
            loss.backward()
            losses.append(loss.item())
            norms.append(model.point.grad.norm().item())
            descent.step()
            points.append(model.point.tolist())
    moves = torch.tensor(points).diff(dim=0)
    cosines = nn.functional.cosine_similarity(moves[1:], moves[:-1], dim=1).tolist()
    return {
        "points": points,
        "losses": losses,
        "norms": norms,
        "cosines": cosines,
        "found": [finding.code for finding in doctor.findings],
    }


def draw(seen, quick):
    figure, axes = panels(2, 2, height=6.6)
    (paths, losses), (gradients, cosines) = axes
    colours = dict(zip(seen, (ORANGE, BLUE, GREEN)))
    paths.set(
        xlim=(-8.6, 1.4), ylim=(-1.15, 1.15), xlabel="x", ylabel="y", title="Across the valley instead of along it"
    )
    contours(paths, height, [0.05, 0.3, 0.8, 1.5, 2.5, 4, 6])
    for name, one in seen.items():
        x, y = zip(*one["points"])
        paths.plot(x, y, color=colours[name], linewidth=1.1, marker="o", markersize=2.2)
        losses.plot(one["losses"], color=colours[name])
        gradients.plot(one["norms"], color=colours[name])
        cosines.plot(one["cosines"], color=colours[name], linewidth=1.4)
    paths.plot(0, 0, marker="*", markersize=11, color="black", linestyle="none")
    end = len(seen["bounces"]["losses"])
    losses.set(xlabel="step", ylabel="loss", title="The loss stalls ...", ylim=(0, 5))
    note(losses, "bounces", end * 0.98, seen["bounces"]["losses"][-1] + 0.1, ORANGE, ha="right", va="bottom")
    note(losses, "a third of the lr", CUT_STEP + 4, 0.42, BLUE, va="bottom")
    note(losses, "momentum", 2, 0.15, GREEN, va="bottom")
    gradients.set(
        xlabel="step", ylabel="norm of the gradient", title="... although the gradient is large", ylim=(0, None)
    )
    cosines.set(xlabel="step", ylabel="cosine", ylim=(-1.15, 1.15), title="Successive updates have opposite directions")
    cosines.axhline(-0.75, color="black", linewidth=0.8, linestyle=":")
    note(cosines, "below: the doctor reports optim.oscillation", end * 0.98, -0.72, ha="right", va="bottom")
    save(figure, "bouncing_valley", quick)


def run(quick=False):
    steps = 120
    seen = {
        "bounces": descend(steps),
        "lower lr": descend(steps, cut=CUT_STEP),
        "momentum": descend(steps, momentum=BETA),
    }
    draw(seen, quick)
    return {
        "last loss": {name: one["losses"][-1] for name, one in seen.items()},
        "last gradient": {name: one["norms"][-1] for name, one in seen.items()},
        "last cosine": {name: one["cosines"][-1] for name, one in seen.items()},
        "findings": {name: one["found"] for name, one in seen.items()},
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.bouncing_valley",
            "Loss, gradient and direction of the steps in a valley: a training that stalls with a large gradient bounces between the walls.",
        ),
    )
