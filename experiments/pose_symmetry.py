"""Rotation losses of an object that looks the same from many sides: a cube under PLoss, SLoss and the minimum over its symmetries.

The same grey cube, the same crops, the same network, which regresses a rotation, the same steps; only the rotation loss
differs. Under PLoss one image has 24 right answers of which the data name one at random, so that the best answer is their mean,
which is no rotation at all. SLoss (the nearest points) and the minimum over the 24 rotations leave the choice to the network.

    python experiments/pose_symmetry.py        5 min

Result: median errors on 600 fresh crops of 43.5 degrees under PLoss, where chance level is 42.3; 3.7 under SLoss on 26 points of the
cube; 5.6 under the minimum over its symmetries. One seed each, so that the latter two are not ranked.
"""

import math

import numpy as np
import torch
from style import BLUE, GREEN, GREY, INK, RED, note, panels, save, start

from danlu.message import message
from danlu.models.parts import conv
from danlu.pose.errors import rotation_errors
from danlu.pose.pose_losses import group_loss, ploss, sloss
from danlu.pose.render import Light, render
from danlu.pose.rotations import from_six, random_rotations
from danlu.pose.solids import cube
from danlu.pose.symmetry import orbits

SIDE = 48  # pixels of a crop
DISTANCE, FOCAL = 0.5, 0.5 * SIDE / 0.16  # metres; pixels, so that a crop shows 16 cm
LR = 2e-3
NOISE = 0.03  # standard deviation of the pixels, in [0, 1]
MODEL = cube()
POINTS = torch.tensor(
    [[0.035, 0.035, 0.035], [0.035, 0.035, 0], [0.035, 0, 0]]
)  # a corner, an edge's and a face's middle
LABELS = {"PLoss": 36, "SLoss": 1, "minimum over 24 symmetries": 13}  # heights in degrees
COLOURS = {"PLoss": RED, "SLoss": GREEN, "minimum over 24 symmetries": BLUE}


def crops(count, seed):
    """Render crops of the cube, standardised float32 (count, 3, 48, 48), at rotations over all of SO(3), (count, 3, 3)."""
    rng = np.random.default_rng(seed)
    rotations = random_rotations(count, torch.Generator().manual_seed(seed)).numpy()
    camera = np.array([[FOCAL, 0, SIDE / 2], [0, FOCAL, SIDE / 2], [0, 0, 1.0]])
    images = np.empty((count, 3, SIDE, SIDE), np.float32)
    for image, rotation in zip(images, rotations):
        x, y = rng.normal(size=2) * 0.4
        length = math.sqrt(x * x + y * y + 1)
        light = Light((x / length, y / length, -1 / length), 0.4)
        seen = render([MODEL.mesh], rotation[None], np.array([[0, 0, DISTANCE]]), camera, (SIDE, SIDE), light)
        image[:] = np.where(seen.item >= 0, seen.colours, rng.random())
    return torch.from_numpy((images - 0.5) / 0.25), torch.from_numpy(rotations).float()


def losses(symmetries):
    """Name -> loss of estimated and true rotations (n, 3, 3); points in units of half the cube."""
    points = orbits(POINTS[None] / 0.035, symmetries[None])[0].unique(dim=0)  # all 26 corners and middles
    group = symmetries[None]
    return {
        "PLoss": lambda found, true: ploss(points, found, true).mean(),
        "SLoss": lambda found, true: sloss(points, found, true).mean(),
        "minimum over 24 symmetries": lambda found, true: group_loss(points[None], found, true, group).mean(),
    }


def network(width, hidden):
    """Crops (n, 3, 48, 48) to the six numbers of a rotation, at first no rotation."""
    out = torch.nn.Linear(hidden, 6)
    torch.nn.init.normal_(out.weight, std=0.01)
    with torch.no_grad():
        out.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))
    return torch.nn.Sequential(
        conv(3, width, 5, stride=2, norm="group"),
        conv(width, 2 * width, 3, stride=2, norm="group"),
        conv(2 * width, 3 * width, 3, stride=2, norm="group"),
        conv(3 * width, 4 * width, 3, norm="group"),
        torch.nn.AdaptiveAvgPool2d(6),
        torch.nn.Flatten(),
        torch.nn.Linear(144 * width, hidden),
        torch.nn.LayerNorm(hidden),
        torch.nn.SiLU(),
        out,
    )


def fit(loss, images, rotations, held, steps, batch):
    """Train a fresh network; return steps and median angles on held-out crops in degrees, and the last angles."""
    torch.manual_seed(0)
    net = network(16, 256)
    optimizer = torch.optim.AdamW(net.parameters(), LR, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps)
    draw = torch.Generator().manual_seed(1)
    curve = []
    for step in range(steps):
        if step % max(8, steps // 20) == 0:
            curve.append((step, angles(net, *held).median().item()))
        chosen = torch.randint(len(images), (batch,), generator=draw)
        noisy = images[chosen] + torch.randn(images[chosen].shape, generator=draw) * (NOISE / 0.25)
        value = loss(from_six(net(noisy)), rotations[chosen])
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    last = angles(net, *held)
    return [*curve, (steps, last.median().item())], last


@torch.no_grad()
def angles(net, images, rotations):
    """Smallest angle over the 24 symmetries between estimate and truth, in degrees (n,)."""
    found = torch.cat([from_six(net.eval()(part)) for part in images.split(256)])
    net.train()
    return rotation_errors(found, rotations, MODEL.symmetries.float()).rad2deg()


def chance():
    """Smallest angles between one rotation and random ones, in degrees: an answer that ignores the image."""
    return rotation_errors(torch.eye(3).expand(4000, 3, 3), random_rotations(4000).float(), MODEL.symmetries).rad2deg()


def run(quick=False):
    count, steps, tested, batch = (128, 24, 64, 20) if quick else (6000, 1400, 600, 64)
    images, rotations = crops(count, 0)
    held = crops(tested, 1)
    torch.manual_seed(0)
    level = chance()
    results = {}
    for name, loss in losses(MODEL.symmetries.float()).items():
        results[name] = fit(loss, images, rotations, held, steps, batch)

    figure, axes = panels(3, width=11.5)
    shown, course, spread = axes[0]
    sheet = (
        (held[0][:16] * 0.25 + 0.5).clamp(0, 1).unflatten(0, (4, 4)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    )
    shown.imshow(sheet.numpy())
    shown.set(title="Crops of a grey cube", xticks=[], yticks=[])
    shown.grid(False)
    for name, (curve, _) in results.items():
        course.plot(*zip(*curve), color=COLOURS[name])
        note(course, name, steps * 0.98, LABELS[name], COLOURS[name], ha="right")
    course.axhline(level.median(), color=GREY, linestyle="--", linewidth=1)
    note(course, "chance level", 0, level.median().item() + 1.2, INK)
    course.set(xlabel="step", ylabel="median error, degrees", title="The same network, three losses", ylim=(0, 52))
    for name, (_, last) in results.items():
        spread.hist(last.numpy(), bins=np.arange(0, 65, 2.5), histtype="step", color=COLOURS[name], linewidth=2)
    spread.hist(
        level.numpy(),
        bins=np.arange(0, 65, 2.5),
        weights=np.full(len(level), tested / len(level)),
        color=GREY,
        alpha=0.25,
    )
    spread.set(
        xlabel="error to the nearest equivalent pose, degrees", ylabel="crops", title="Errors at the end (grey: chance)"
    )
    save(figure, "pose_symmetry", quick)
    return {
        "median and mean degrees at chance level": [level.median().item(), level.mean().item()],
        "median degrees": {name: last.median().item() for name, (_, last) in results.items()},
        "mean degrees": {name: last.mean().item() for name, (_, last) in results.items()},
        "within 10 degrees": {name: (last < 10).float().mean().item() for name, (_, last) in results.items()},
    }


if __name__ == "__main__":
    start(
        run,
        message(
            "experiments.of.pose_symmetry",
            "Errors of rotation of a cube under three losses: one that ignores the symmetries does not learn.",
        ),
    )
