"""Products over depth: a constant factor per layer soon underflows or overflows.

Thirty layers of 256 units with three initialisations: N(0, 0.01²) as for a shallow network, Xavier (variance
2 / (n_in + n_out)) and He (2 / n_in). Forward, the scale is multiplied per layer by n_in times the variance, times 1/2
after a ReLU; backward likewise with n_out. Then networks of 2 and of 20 layers are trained on the digits.

    python experiments/depth.py        18 s

Result: 1.5^100 is 4.1e17 and 0.8^100 2.0e-10; they leave the range of float16 after 28 and 44 factors. Over 30 ReLU
layers the outputs keep 0.69 of their scale with He, 3e-5 with Xavier (each ReLU halves the variance), 2e-28 with
N(0, 0.01²); gradients 0.98, 4e-5 and 4e-28 on the backward pass, 6e-19 through sigmoids. After 25 epochs the shallow
network with N(0, 0.01²) has a training loss of 0.10, the deep one 2.303 = ln 10, and the deep one with He 0.14.
"""

import math
from itertools import pairwise

import torch
from style import BLUE, GREEN, GREY, ORANGE, PURPLE, note, panels, save, start
from torch import nn
from training import digits

from danlu.message import message

WIDTH, HALF = 256, (2**-14, 65504)  # range of normal float16 numbers
DRAWN = {
    "N(0, 0.01²)": lambda weight: nn.init.normal_(weight, std=0.01),
    "Xavier": nn.init.xavier_normal_,
    "He": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
}
PLACES = {  # label positions in the last panel: fraction of the epochs, loss
    (2, "N(0, 0.01²)"): (0.58, 1.75),
    (20, "N(0, 0.01²)"): (1, 2.36),
    (20, "He"): (0.62, 0.68),
}
COLOURS = {"N(0, 0.01²)": ORANGE, "Xavier": BLUE, "He": GREEN}


def stack(depth, init, activation, width=WIDTH, inputs=WIDTH, outputs=WIDTH):
    sizes = [inputs, *[width] * (depth - 1), outputs]
    layers = []
    for given, wanted in pairwise(sizes):
        layer = nn.Linear(given, wanted)
        DRAWN[init](layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, activation()]
    return nn.Sequential(*layers[:-1])


def scales(depth, init, activation):
    """RMS of each layer's output, and of the gradient there of a random direction at the last layer."""
    torch.manual_seed(0)
    net = stack(depth, init, activation).double()  # the squares underflow in float32
    x = torch.randn(128, WIDTH, dtype=torch.float64)
    outputs = []
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.Linear):
            x.retain_grad()
            outputs.append(x)
    (x * torch.randn_like(x)).sum().backward()
    return [o.detach().square().mean().sqrt().item() for o in outputs], [
        o.grad.square().mean().sqrt().item() for o in outputs
    ]


def learn(depth, init, epochs):
    """Train on the digits with momentum 0.9; return the training loss of each epoch."""
    x, y, *_ = digits()
    x = x.flatten(1)
    torch.manual_seed(0)
    net = stack(depth, init, nn.ReLU, width=64, inputs=64, outputs=10)
    descent, losses = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9), []
    for _ in range(epochs):
        total = 0.0
        for some in torch.randperm(len(x)).split(64):
            descent.zero_grad()
            loss = nn.functional.cross_entropy(net(x[some]), y[some])
            loss.backward()
            descent.step()
            total += loss.item() * len(some)
        losses.append(total / len(x))
    return losses


def draw(powers, forward, backward, learnt, quick):
    figure, axes = panels(2, 2, height=7)
    (products, outputs), (gradients, training) = axes
    products.axhspan(*HALF, color=GREY, alpha=0.12, linewidth=0)
    note(products, "float16", 99, 300, GREY, ha="right", va="center")
    for factor, colour, beside, va in ((1.5, PURPLE, 3, "bottom"), (0.8, BLUE, 0.2, "top")):
        products.semilogy([factor**n for n in range(101)], color=colour)
        label = f"{factor}$^{{100}}$ = {powers[factor]:.1e}"
        note(products, label, 100, powers[factor] * beside, colour, ha="right", va=va)
    for init, colour in COLOURS.items():
        layers, middle = range(1, len(forward[init]) + 1), len(forward[init]) // 2
        outputs.semilogy(layers, forward[init], color=colour)
        beside, va = (0.02, "top") if init == "Xavier" else (20, "bottom")
        note(outputs, init, middle + 1, forward[init][middle] * beside, colour, va=va)
        gradients.semilogy(layers, backward[init], color=colour)
        beside, va = (0.02, "top") if init == "N(0, 0.01²)" else (20, "bottom")
        note(gradients, f"ReLU, {init}", 5, backward[init][4] * beside, colour, va=va)
    gradients.semilogy(layers, backward["sigmoid"], color=PURPLE, linestyle="--")
    note(gradients, "sigmoid, Xavier", 1, backward["sigmoid"][0] * 1e6, PURPLE, va="bottom")
    for (depth, init), losses in learnt.items():
        epochs = range(1, len(losses) + 1)
        training.plot(epochs, losses, color=COLOURS[init], linestyle="--" if depth == 2 else "-")
        x, y = PLACES[depth, init]
        note(training, f"{depth} layers, {init}", x * len(losses), y, COLOURS[init], ha="right")
    training.axhline(math.log(10), color=GREY, linewidth=0.8, linestyle=":")
    products.set(xlabel="factors", ylabel="product", title="A factor per layer is a power of depth", ylim=(1e-14, 1e21))
    outputs.set(xlabel="layer", ylabel="root mean square", title="Forward, ReLU: He keeps the scale", ylim=(None, 1e5))
    gradients.set(xlabel="layer", ylabel="root mean square of the gradient", ylim=(1e-33, 1e5))
    gradients.set_title("Backward: gradients of the first layers vanish")
    training.set(xlabel="epoch", ylabel="training loss", ylim=(-0.15, 2.6))
    training.set_title("N(0, 0.01²) works for 2 layers, not for 20")
    save(figure, "depth", quick)


def run(quick=False, depth=30, epochs=25):
    depth, epochs = (10, 2) if quick else (depth, epochs)
    powers = {1.5: 1.5**100, 0.8: 0.8**100}
    forward, backward = {}, {}
    for init in DRAWN:
        forward[init], backward[init] = scales(depth, init, nn.ReLU)
    _, backward["sigmoid"] = scales(depth, "Xavier", nn.Sigmoid)
    jobs = [(2, "N(0, 0.01²)"), (20, "N(0, 0.01²)"), (20, "He")]
    learnt = {job: learn(*job, epochs) for job in jobs}
    draw(powers, forward, backward, learnt, quick)
    return {
        "products of 100": powers,
        "scale of the last layer's output over the first's": {k: v[-1] / v[0] for k, v in forward.items()},
        "gradient at the first layer over the last's": {k: v[0] / v[-1] for k, v in backward.items()},
        "last training loss": {f"{depth} layers, {init}": losses[-1] for (depth, init), losses in learnt.items()},
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.depth",
            "Scale of outputs and gradients by layer, and training losses: only a suitable initialisation keeps a deep network trainable.",
        ),
    )
