"""Fraction of positive Hessian eigenvalues during training: a third of the directions is not positive at the end.

A network of 114 weights on two moons, full batch, so that all eigenvalues of its Hessian can be computed exactly.
Reproduces the figure of the notes, loss and minimum ratio; eigenvalues of zero up to rounding are counted separately.

    python experiments/minimum_ratio.py        4 s

Result: while the loss falls from 0.70 to 0.017, the minimum ratio rises from 0.47 to 0.65 and ends at 0.62; the smallest
eigenvalue goes from -0.46 to -0.0007, the largest from 1.3 to 3.2. By the signs, training ends at a saddle.
"""

import torch
from sklearn.datasets import make_moons
from style import BLUE, GREY, INK, RED, note, panels, save, start
from torch import nn

import danlu
from danlu.message import message


def run(quick=False):
    epochs, every = (60, 20) if quick else (1500, 30)
    x, y = make_moons(200, noise=0.15, random_state=0)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    descent = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    seen = []
    for epoch in range(epochs + 1):
        if epoch % every == 0:
            seen.append((epoch, danlu.curvature(net, nn.functional.cross_entropy, (x, y))))
        descent.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        descent.step()

    at = [epoch for epoch, _ in seen]
    positive, negative = ([getattr(c.sign_fractions, name) for _, c in seen] for name in ("positive", "negative"))
    figure, axes = panels(3, width=13.0)
    loss, signs, ends = axes[0]
    loss.semilogy(at, [c.loss for _, c in seen], color=INK)
    loss.set(xlabel="epoch", ylabel="training loss", title="The loss falls")
    signs.stackplot(at, positive, [1 - p - n for p, n in zip(positive, negative)], negative, colors=[BLUE, GREY, RED])
    note(signs, "positive", at[-1] * 0.5, positive[-1] / 2, BLUE)
    note(signs, "negative", at[-1] * 0.5, 1 - negative[-1] / 2, RED)
    signs.set(xlabel="epoch", ylabel="fraction of eigenvalues", ylim=(0, 1), title="The minimum ratio")
    ends.plot(at, [c.top[0].value for _, c in seen], color=BLUE)
    ends.plot(at, [c.bottom[0].value for _, c in seen], color=RED)
    ends.set(xlabel="epoch", ylabel="eigenvalue", yscale="symlog", title="Largest and smallest eigenvalue")
    save(figure, "minimum_ratio", quick)
    first, last = seen[0][1], seen[-1][1]
    return {
        "epochs": at,
        "loss, first and last": [first.loss, last.loss],
        "minimum ratio": positive,
        "negative fraction": negative,
        "smallest eigenvalue, first and last": [first.bottom[0].value, last.bottom[0].value],
        "largest eigenvalue, first and last": [first.sharpness, last.sharpness],
        "kind of point at the end": last.kind,
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.minimum_ratio",
            "Fraction of positive eigenvalues of the Hessian during training: by their signs, training ends at a saddle.",
        ),
    )
