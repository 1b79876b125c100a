"""How large a batch pays is told by the noise of its gradient (McCandlish, Kaplan, Amodei and others, 2018).

The noise scale is the trace of the covariance of single samples' gradients over the squared length of the true gradient.
In batches far below it every doubling halves the steps that are needed; far above it a doubling only doubles the work:
steps = least (1 + scale / batch). The doctor estimates it from pairs of successive gradients, without a pass of its own.

    python experiments/noise_scale.py        32 s

Seen: the noise scale grows from 48 to 418 samples until the loss is 0.2. Up to a batch of 16 half the steps are needed for
twice the batch (576 steps at 2, 96 at 16); from 128 on 25 to 30 are needed whatever the batch, so 1024 costs 22 times the
samples of 2. Twice the least steps are needed at 48. The doctor's estimate is right while the scale is small (within a
third for 250 steps) and too high later (median 1.4 of the exact one, up to 17 times): between two steps the weights
move, which turns their gradients away from each other and hides the signal. At a rate five times higher it fails.
"""

import numpy as np
import torch
from style import BLUE, GREEN, GREY, ORANGE, note, panels, save, start
from torch import nn
from torch.func import functional_call, grad, vmap
from training import digits

import danlu

TARGET = 0.2  # training loss to reach
WINDOW = 50  # pairs of steps that the doctor's estimate is averaged over


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def batches(count, size, steps, seed=0):
    """Rows of each step's batch, drawn anew every time."""
    random = torch.Generator().manual_seed(seed)
    return (torch.randint(count, (size,), generator=random) for _ in range(steps))


def exact(model, x, y):
    """The noise scale from the gradient of every sample."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, one, label):
        return nn.functional.cross_entropy(functional_call(model, weights, (one[None],)), label[None])

    each = torch.cat([g.flatten(1) for g in vmap(grad(loss), (None, 0, 0))(weights, x, y).values()], 1)
    mean = each.mean(0)
    return ((each - mean).square().sum() / (len(x) - 1) / mean.square().sum()).item()


def measured(x, y, size, rate, steps, every):
    """Until the loss is down at TARGET: the exact scale every so many steps, and the doctor's; step -> value."""
    model, loss_fn = network(), nn.CrossEntropyLoss()
    descent, truth = torch.optim.SGD(model.parameters(), rate), {}
    with danlu.watch(model, descent, loss_fn, budget=float("inf")) as doctor:
        for step, rows in enumerate(batches(len(x), size, steps)):
            if step % every == 0:
                truth[step] = exact(model, x, y)
                with torch.no_grad():
                    if nn.functional.cross_entropy(model(x), y) <= TARGET:
                        break
            descent.zero_grad()
            loss_fn(model(x[rows]), y[rows]).backward()
            descent.step()
    at, signal = doctor.ledger.series("gradient.signal")
    noise = doctor.ledger.values("gradient.noise")
    ends = range(WINDOW, len(at) + 1, WINDOW)
    said = {at[e - 1]: np.mean(noise[e - WINDOW : e]) / np.mean(signal[e - WINDOW : e]) for e in ends}
    return truth, {step: value for step, value in said.items() if value > 0}


def steps_to(x, y, size, rate, limit, every):
    """Steps until the training loss is down at TARGET; infinite where it never is."""
    model = network()
    descent = torch.optim.SGD(model.parameters(), rate)
    for step, rows in enumerate(batches(len(x), size, limit), 1):
        descent.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        descent.step()
        if step % every == 0:
            with torch.no_grad():
                if nn.functional.cross_entropy(model(x), y) <= TARGET:
                    return step
    return np.inf


def run(quick=False):
    x, y = digits()[:2]
    steps, every = (120, 30) if quick else (2000, 25)
    truth, said = measured(x, y, 32, 0.02, steps, every)
    sizes, rates = (
        ([16, 256], [0.2]) if quick else ([2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], [0.05 * 2**k for k in range(6)])
    )
    needed = {n: min(steps_to(x, y, n, rate, 3000, max(1, 64 // n)) for rate in rates) for n in sizes}
    inverse = np.array([[1.0, 1 / n] for n in sizes])
    weights = 1 / np.array([needed[n] for n in sizes])  # every batch size counts alike, though their steps differ
    least, slope = np.linalg.lstsq(inverse * weights[:, None], np.ones(len(sizes)), rcond=None)[0]
    scale = float(np.exp(np.mean(np.log(list(truth.values())))))

    figure, axes = panels(3, width=13.4, height=3.9)
    over, left, right = axes[0]
    over.semilogy(list(truth), list(truth.values()), "-", color=BLUE)
    over.semilogy(list(said), list(said.values()), "o", color=ORANGE)
    note(over, "from every sample's gradient", 0.98, 0.12, BLUE, transform=over.transAxes, ha="right")
    note(over, "the doctor's, from pairs of steps", 0.98, 0.04, ORANGE, transform=over.transAxes, ha="right")
    over.set(xlabel="step", ylabel="noise scale, samples", title="The noise scale grows as training goes")
    counts = np.array(list(needed.values()), float)
    fine = np.geomspace(sizes[0], sizes[-1], 100)
    for axis, seen, line in ((left, counts, least + slope / fine), (right, counts * sizes, least * fine + slope)):
        axis.loglog(sizes, seen, "o", color=GREEN)
        axis.loglog(fine, line, "-", color=GREEN, linewidth=1)
        axis.axvspan(min(truth.values()), max(truth.values()), color=BLUE, alpha=0.08, linewidth=0)
        axis.axvline(slope / least, color=GREY, linestyle="--", linewidth=1)
        axis.yaxis.set_minor_formatter("")
    left.set_yticks([25, 50, 100, 200, 400], ["25", "50", "100", "200", "400"])
    note(left, f"{slope / least:.0f}: twice the least steps", 0.5, 0.93, GREY, transform=left.transAxes)
    note(left, "the noise scale until then", 0.5, 0.85, BLUE, transform=left.transAxes)
    left.set(xlabel="batch size", ylabel=f"steps to a loss of {TARGET}", title="Past the scale, no fewer steps")
    right.set(xlabel="batch size", ylabel=f"samples to a loss of {TARGET}", title="Below it, no more work")
    save(figure, "noise_scale", quick)
    near = [(value, truth[min(truth, key=lambda t: abs(t - step))]) for step, value in said.items()]
    return {
        "noise scale, exact, first and last": [next(iter(truth.values())), list(truth.values())[-1]],
        "the doctor's over the exact one, median": float(np.median([a / b for a, b in near])) if near else None,
        "geometric mean of the exact scale": scale,
        "steps needed": needed,
        "batch at which steps are twice the least": float(slope / least),
    }


if __name__ == "__main__":
    start(run)
