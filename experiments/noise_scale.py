"""The gradient noise scale predicts the largest useful batch size (McCandlish, Kaplan, Amodei and others, 2018).

The noise scale is the trace of the covariance of per-sample gradients over the squared norm of the true gradient. For
batches far below it, doubling the batch halves the required steps; far above it, doubling only doubles the work:
steps = min_steps (1 + scale / batch). The doctor estimates it from pairs of successive gradients without extra passes.

    python experiments/noise_scale.py        32 s

Result: the noise scale grows from 48 to 418 samples until the loss is 0.2. Up to a batch of 16 doubling the batch halves
the steps (576 steps at 2, 96 at 16); from 128 on 25 to 30 are needed at any batch size, so 1024 costs 22
times the samples of 2. Twice the minimum number of steps is needed at 48. The doctor's estimate is right while the scale is small (within a
third for 250 steps) and too high later (median 1.4 times the exact one, up to 17 times): between two steps the weights
move, which turns their gradients away from each other and hides the signal. At a learning rate five times higher it fails.
"""

import numpy as np
import torch
from style import BLUE, GREEN, GREY, ORANGE, note, panels, save, start
from torch import nn
from torch.func import functional_call, grad, vmap
from training import digits

import danlu
from danlu.message import message

TARGET_LOSS = 0.2  # training loss to reach
WINDOW = 50  # pairs of steps over which the doctor's estimate is averaged


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def batches(count, size, steps, seed=0):
    """Yield the random rows of each step's batch."""
    random = torch.Generator().manual_seed(seed)
    return (torch.randint(count, (size,), generator=random) for _ in range(steps))


def exact(model, x, y):
    """Compute the noise scale from the gradient of every sample."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, one, label):
        return nn.functional.cross_entropy(functional_call(model, weights, (one[None],)), label[None])

    each = torch.cat([g.flatten(1) for g in vmap(grad(loss), (None, 0, 0))(weights, x, y).values()], 1)
    mean = each.mean(0)
    return ((each - mean).square().sum() / (len(x) - 1) / mean.square().sum()).item()


def measured(x, y, size, rate, steps, every):
    """Train to TARGET_LOSS; return the exact scale at intervals and the doctor's estimate, both step -> value."""
    model, loss_fn = network(), nn.CrossEntropyLoss()
    descent, truth = torch.optim.SGD(model.parameters(), rate), {}
    with danlu.watch(model, descent, loss_fn, budget=float("inf"), quiet=True) as doctor:
        for step, rows in enumerate(batches(len(x), size, steps)):
            if step % every == 0:
                truth[step] = exact(model, x, y)
                with torch.no_grad():
                    if nn.functional.cross_entropy(model(x), y) <= TARGET_LOSS:
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
    """Number of steps until the training loss reaches TARGET_LOSS; infinite if never."""
    model = network()
    descent = torch.optim.SGD(model.parameters(), rate)
    for step, rows in enumerate(batches(len(x), size, limit), 1):
        descent.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        descent.step()
        if step % every == 0:
            with torch.no_grad():
                if nn.functional.cross_entropy(model(x), y) <= TARGET_LOSS:
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
    weights = 1 / np.array([needed[n] for n in sizes])  # equal weight for every batch size, though their steps differ
    least, slope = np.linalg.lstsq(inverse * weights[:, None], np.ones(len(sizes)), rcond=None)[0]
    scale = float(np.exp(np.mean(np.log(list(truth.values())))))

    figure, axes = panels(3, width=13.4, height=3.9)
    over, left, right = axes[0]
    over.semilogy(list(truth), list(truth.values()), "-", color=BLUE)
    over.semilogy(list(said), list(said.values()), "o", color=ORANGE)
    note(over, "from every sample's gradient", 0.98, 0.12, BLUE, transform=over.transAxes, ha="right")
    note(over, "the doctor's, from pairs of steps", 0.98, 0.04, ORANGE, transform=over.transAxes, ha="right")
    over.set(xlabel="step", ylabel="noise scale, samples", title="The noise scale grows during training")
    counts = np.array(list(needed.values()), float)
    fine = np.geomspace(sizes[0], sizes[-1], 100)
    for axis, seen, line in ((left, counts, least + slope / fine), (right, counts * sizes, least * fine + slope)):
        axis.loglog(sizes, seen, "o", color=GREEN)
        axis.loglog(fine, line, "-", color=GREEN, linewidth=1)
        axis.axvspan(min(truth.values()), max(truth.values()), color=BLUE, alpha=0.08, linewidth=0)
        axis.axvline(slope / least, color=GREY, linestyle="--", linewidth=1)
        axis.yaxis.set_minor_formatter("")
    left.set_yticks([25, 50, 100, 200, 400], ["25", "50", "100", "200", "400"])
    note(left, f"{slope / least:.0f}: twice the minimum steps", 0.5, 0.93, GREY, transform=left.transAxes)
    note(left, "the noise scale until then", 0.5, 0.85, BLUE, transform=left.transAxes)
    left.set(
        xlabel="batch size", ylabel=f"steps to a loss of {TARGET_LOSS}", title="Above the noise scale: no fewer steps"
    )
    right.set(
        xlabel="batch size", ylabel=f"samples to a loss of {TARGET_LOSS}", title="Below the noise scale: no more work"
    )
    save(figure, "noise_scale", quick)
    near = [(value, truth[min(truth, key=lambda t: abs(t - step))]) for step, value in said.items()]
    return {
        "noise scale, exact, first and last": [next(iter(truth.values())), list(truth.values())[-1]],
        "the doctor's over the exact one, median": float(np.median([a / b for a, b in near])) if near else None,
        "geometric mean of the exact scale": scale,
        "steps needed": needed,
        "batch at which steps are twice the minimum": float(slope / least),
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.noise_scale",
            "Steps and samples needed against the batch size: beyond the noise scale a larger batch saves no steps.",
        ),
    )
