"""Training speed of the detectors beside torchvision's: `python benchmarks/detection_speed.py`.

The same network, size and batch: forward, losses, backward and step. Each contender stays in memory and they work in
turns, in another order every round, so that a machine whose speed drifts drifts for all of them. danlu trains in the
memory format and precision that it measures to be fastest, as `danlu train` does, torchvision as it comes; and danlu in
torchvision's format is shown beside, to tell what is owed to losses and matching alone.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.build import DETECTORS, build_detector
from danlu.engine.device import probe_format
from danlu.models.build import build_backbone
from danlu.objects import ObjectBatch, Objects, collate

RESULTS = Path(__file__).resolve().parent / "results" / "detection_speed.md"
CLASSES, OBJECTS = 20, 8  # objects in a picture
GOAL = 1.5


@dataclass(frozen=True)
class Pair:
    """A detector of danlu and torchvision's. options: what makes ours the same network."""

    ours: str
    theirs: str
    size: int
    batch: int
    backbone: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    masks: bool = False


REGIONS: dict[str, Any] = {
    "width": 256, "hidden": 1024, "norm": "frozen", "anchor": 32.0,
    "proposals": 2000, "candidates": 2000, "regions": 512,
}  # fmt: skip
MASKS: dict[str, Any] = {"mask_width": 256, "mask_layers": 4}
PAIRS = (
    Pair("ssd300", "ssd300_vgg16", 300, 4),
    Pair("retinanet-resnet50", "retinanet_resnet50_fpn", 320, 4, options={"norm": "frozen"}),
    Pair("faster-rcnn", "fasterrcnn_resnet50_fpn", 320, 2, "resnet50", REGIONS),
    Pair("mask-rcnn", "maskrcnn_resnet50_fpn", 320, 2, "resnet50", REGIONS | MASKS, masks=True),
)


class Contender:
    """One network that is trained on one batch, over and over. step: one step of training, in seconds."""

    def __init__(self, name: str, model: nn.Module, loss: Callable[[], Tensor]) -> None:
        self.name, self.loss = name, loss
        self.seconds: list[float] = []
        self.parameters = sum(p.numel() for p in model.parameters())
        self.optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-5, momentum=0.9)

    def step(self) -> float:
        start = time.perf_counter()
        self.optimiser.zero_grad()
        self.loss().backward()
        self.optimiser.step()
        return time.perf_counter() - start


def draw(pair: Pair) -> tuple[Tensor, ObjectBatch]:
    """Pictures of noise with objects of an eighth to a half of their side."""
    torch.manual_seed(0)
    pictures, batch = torch.randn(pair.batch, 3, pair.size, pair.size), []
    for _ in range(pair.batch):
        sides = pair.size * (1 / 8 + 3 / 8 * torch.rand(OBJECTS, 2))
        corners = torch.rand(OBJECTS, 2) * (pair.size - sides)
        boxes = torch.cat([corners, corners + sides], 1)
        masks = torch.zeros(OBJECTS, pair.size, pair.size, dtype=torch.uint8) if pair.masks else None
        for mask, (x1, y1, x2, y2) in zip(masks if masks is not None else (), boxes.int().tolist()):
            mask[y1:y2, x1:x2] = 1
        labels, ignore = torch.randint(CLASSES, (OBJECTS,)), torch.zeros(OBJECTS, dtype=torch.bool)
        batch.append(Objects(boxes, labels, ignore, masks))
    return pictures, collate(batch)


def ours(pair: Pair, pictures: Tensor, objects: ObjectBatch, precision: str, channels_last: bool) -> Contender:
    backbone = build_backbone(pair.backbone or DETECTORS[pair.ours].backbone or "", channels=3, size=pair.size)
    model = build_detector(pair.ours, backbone, classes=CLASSES, size=pair.size, **pair.options).train()
    memory = torch.channels_last if channels_last else torch.contiguous_format
    model, pictures = model.to(memory_format=memory), pictures.contiguous(memory_format=memory)  # type: ignore[call-overload]

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            outputs = model(pictures)
        return model.losses(outputs, objects)["loss"]

    name = f"danlu {precision}{', channels last' if channels_last else ''}"
    return Contender(name, model, loss)


def theirs(pair: Pair, pictures: Tensor, objects: ObjectBatch) -> Contender:
    """torchvision, asked directly: pictures and targets as lists, no resizing, batch norms as they are at rest."""
    import torchvision

    background = int(pair.theirs.startswith(("ssd", "faster", "mask")))
    size = {} if background and "ssd" in pair.theirs else {"min_size": pair.size, "max_size": pair.size}
    model = getattr(torchvision.models.detection, pair.theirs)(
        weights=None, weights_backbone=None, num_classes=CLASSES + background,
        image_mean=[0.0] * 3, image_std=[1.0] * 3, _skip_resize=True, **size,
    )  # fmt: skip
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(False)
    targets = []
    for i in range(pair.batch):
        one = objects.picture(i)
        targets.append({"boxes": one.boxes, "labels": one.labels + background})
        if pair.masks:
            targets[-1]["masks"] = one.masks
    return Contender("torchvision", model, lambda: torch.stack(list(model(list(pictures), targets).values())).sum())


def measure(pair: Pair, rounds: int, steps: int) -> str:
    """The part of the page about one pair."""
    pictures, objects = draw(pair)
    backbone = pair.backbone or DETECTORS[pair.ours].backbone or ""
    best = probe_format(lambda: build_backbone(backbone, channels=3, size=pair.size), pictures)
    contenders = [theirs(pair, pictures, objects), ours(pair, pictures, objects, "fp32", False)]
    if (best.precision, best.channels_last) != ("fp32", False):
        contenders.append(ours(pair, pictures, objects, best.precision, best.channels_last))
    for contender in contenders:
        contender.step()
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            contender.seconds.append(sum(contender.step() for _ in range(steps)))
    lines = [
        f"## {pair.ours} and torchvision/{pair.theirs}",
        "",
        f"{pair.size} pixels, batch {pair.batch}, {OBJECTS} objects in a picture; {rounds} rounds of {steps} steps.",
        "",
        "| | parameters | images/s, median | beside torchvision, median of rounds | min - max | goal |",
        "|---|---|---|---|---|---|",
    ]
    for contender in contenders:
        speed = pair.batch * steps / median(contender.seconds)
        ratios = [a / b for a, b in zip(contenders[0].seconds, contender.seconds)]
        last = contender is contenders[-1]
        goal = f">= {GOAL:g}, {'reached' if median(ratios) >= GOAL else 'missed'}" if last else ""
        spread = f"{min(ratios):.2f} - {max(ratios):.2f}"
        row = [contender.name, f"{contender.parameters:,}", f"{speed:.2f}", f"{median(ratios):.2f}", spread, goal]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[pair.ours for pair in PAIRS], help="may be given again")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each contender [7]")
    parser.add_argument("--steps", type=int, default=3, help="steps in a round [3]")
    parser.add_argument("--quick", action="store_true", help="two rounds of one step, to see that it works")
    options = parser.parse_args()
    rounds, steps = (2, 1) if options.quick else (options.rounds, options.steps)
    load = os.getloadavg()[0]
    busy = " (BUSY: the figures are not to be trusted)" if load > 0.5 else ""
    parts = [
        "# Training speed of detectors\n\n"
        f"{os.cpu_count()} cores, torch works with {torch.get_num_threads()} threads; load before the run "
        f"{load:.1f}{busy}. "
        f"danlu {version('danlu')}, torch {torch.__version__}, torchvision {version('torchvision')}."
        + "\n\nQUICK: a trial of the program, too short to measure."
        * options.quick
    ]
    for pair in PAIRS:
        if options.only is None or pair.ours in options.only:
            parts.append(measure(pair, rounds, steps))
            print(parts[-1], end="\n\n", flush=True)
    if not options.quick:
        RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
