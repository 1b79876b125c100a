"""A stall at a saddle point: identified by its curvature and ended by one step.

With two tanh layers and very small weights the gradient is almost zero and the loss stalls, as at a minimum. The smallest
eigenvalue of the Hessian is negative: along its eigenvector the loss falls, and one step that way ends the stall.

    python experiments/saddle_escape.py        2 s

Result: after 40 steps the loss is still 0.676, the gradient 0.018, the eigenvalues -1.20 to 1.20: a saddle. One step along the
eigenvector takes the loss to 0.354; the loss is halved at step 40 instead of 62.
"""

import copy

import torch
from style import BLUE, GREEN, GREY, RED, note, panels, save, start
from torch import nn

import danlu
from danlu.message import message


def problem():
    """Return 100 points of a smooth function of two inputs, and a network at the saddle around zero."""
    torch.manual_seed(0)
    x = torch.randn(100, 2, dtype=torch.float64)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:] * 0.5
    net = nn.Sequential(nn.Linear(2, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False)).double()
    for weight in net.parameters():
        nn.init.normal_(weight, std=1e-6)
    return net, x, y


def descend(net, x, y, steps, lr):
    """Run full-batch gradient descent; return the loss before each step."""
    losses, descent = [], torch.optim.SGD(net.parameters(), lr)
    for _ in range(steps):
        loss = nn.functional.mse_loss(net(x), y)
        losses.append(loss.item())
        descent.zero_grad()
        loss.backward()
        descent.step()
    return losses


def step_along(net, way):
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.add_(way.step * way.direction[name])


def run(quick=False, lr=0.2, steps=300):
    steps, stalled = (150, 20) if quick else (steps, 40)
    net, x, y = problem()
    before = descend(net, x, y, stalled, lr)
    at_stall = danlu.curvature(net, nn.functional.mse_loss, (x, y))
    helped = copy.deepcopy(net)
    step_along(helped, at_stall.negative_curvature)
    waiting, escaped = (before + descend(n, x, y, steps - stalled, lr) for n in (net, helped))
    half = 0.5 * (before[0] + min(waiting + escaped))
    reached = [next((i for i, loss in enumerate(line) if loss < half), steps) for line in (waiting, escaped)]

    figure, axes = panels(2)
    left, right = axes[0]
    left.plot(waiting, color=BLUE)
    left.plot(escaped, color=GREEN)
    left.axvline(stalled, color=GREY, linewidth=1, linestyle="--")
    note(left, "descent alone", reached[0] * 0.98, half, BLUE, ha="right" if reached[0] > steps / 2 else "left")
    note(left, "one step along\nthe escape", stalled * 1.2, half * 0.75, GREEN)
    left.set(xlabel="step", ylabel="training loss", title="A stall that is not a minimum")
    way = at_stall.negative_curvature
    near = [(s, v) for s, v in zip(way.steps, way.losses) if abs(s) <= 1.0]
    right.plot(*zip(*near), "o-", color=RED)
    right.set(
        xlabel="distance along the eigenvector",
        ylabel="training loss",
        title=f"Curvature {at_stall.bottom[0].value:.2f} that way",
    )
    save(figure, "saddle_escape", quick)
    return {
        "kind of point": at_stall.kind,
        "gradient norm at the stall": at_stall.gradient_norm,
        "smallest and largest eigenvalue": [at_stall.bottom[0].value, at_stall.top[0].value],
        "minimum ratio": at_stall.minimum_ratio.value,
        "loss at the stall and after one step along the escape": [at_stall.loss, at_stall.loss - way.drop],
        "steps until the loss is halved, without and with the escape": reached,
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.saddle_escape",
            "Loss with and without one step along the direction of negative curvature: the step ends the stall.",
        ),
    )
