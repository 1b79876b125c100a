"""Full-batch gradient descent raises sharpness to 2/lr and stays there (Cohen, Kaur, Li, Kolter and Talwalkar, 2021).

A tanh network on 300 digits with squared error. The largest eigenvalue of the Hessian rises during training
to the largest value that is stable at this learning rate; from then on the loss is not monotonic but still falls.

    python experiments/edge_of_stability.py        8 s

Result: from 12.2 at the start sharpness goes to 9.995 at a limit of 10 and to 19.99 at 20, and has reached 20 at a limit
of 40. The loss rises on 26 %, 7 % and 0 % of the steps and ends at 0.006, 0.013 and 0.027: the largest learning rate is
the fastest.
"""

from itertools import pairwise

import torch
from style import BLUE, GREEN, ORANGE, note, panels, save, start
from torch import nn
from training import digits

from danlu.doctor.curvature.summary import sharpness
from danlu.message import message


def squared(said, true):
    return 0.5 * (said - true).square().sum(1).mean()


def descend(x, y, rate, steps, every):
    """Return the losses of all steps and the sharpness at intervals."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10))
    descent, losses, sharp = torch.optim.SGD(net.parameters(), rate), [], []
    for step in range(steps):
        if step % every == 0:
            sharp.append(sharpness(net, squared, (x, y)).value)
        descent.zero_grad()
        loss = squared(net(x), y)
        losses.append(loss.item())
        loss.backward()
        descent.step()
    return losses, sharp


def run(quick=False, lr=0.2, steps=3000):
    steps, every, count = (120, 20, 100) if quick else (steps, 30, 300)
    rates = [lr, lr / 2, lr / 4]
    x, labels, *_ = digits(limit=count)
    x, y = x.flatten(1), nn.functional.one_hot(labels, 10).float()
    seen = {rate: descend(x, y, rate, steps, every) for rate in rates}

    figure, axes = panels(2)
    left, right = axes[0]
    for (rate, (losses, sharp)), colour in zip(seen.items(), (ORANGE, GREEN, BLUE)):
        left.semilogy(losses, color=colour, linewidth=1)
        right.plot(range(0, steps, every), sharp, color=colour)
        right.axhline(2 / rate, color=colour, linestyle="--", linewidth=1)
        note(right, f"2/lr = {2 / rate:g}", steps * 0.02, 2 / rate, colour, va="bottom")
    left.set(xlabel="step", ylabel="training loss", title="The loss falls, but not at every step")
    right.set(xlabel="step", ylabel="largest eigenvalue", title="Sharpness rises to 2/lr and stays")
    save(figure, "edge_of_stability", quick)
    return {
        "limits 2/lr": {rate: 2 / rate for rate in rates},
        "sharpness at the start": {rate: sharp[0] for rate, (_, sharp) in seen.items()},
        "sharpness, mean of the last quarter": {
            rate: sum(sharp[-len(sharp) // 4 :]) / len(sharp[-len(sharp) // 4 :]) for rate, (_, sharp) in seen.items()
        },
        "fraction of steps on which the loss rises": {
            rate: sum(b > a for a, b in pairwise(losses)) / steps for rate, (losses, _) in seen.items()
        },
        "last loss": {rate: losses[-1] for rate, (losses, _) in seen.items()},
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.edge_of_stability",
            "Loss and sharpness of full-batch descent: sharpness rises to 2/lr and stays there.",
        ),
    )
