"""Compare the training speed of the detectors with torchvision's: `python benchmarks/detection_speed.py`.

Both sides train the same network at the same size and batch: forward, losses, backward and step. Each contender runs in
its own process. Contenders take turns in a rotating order, so that drift in machine speed affects all of them equally.
Two comparisons are made. Equal arithmetic: both in float32, where only memory format, matching and losses differ. Own
defaults: danlu in the precision it measures to be fastest, as `danlu train` does, and torchvision in float32. An upper
bound for the first comparison is printed too, from the fraction of torchvision's step that is not convolutions. The
last row is torchvision with bf16 and channels_last set by hand.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from danlu.detection.detector_table import DETECTORS, build_detector
from danlu.engine.device import keep_freed_memory, probe_format
from danlu.models.network_table import build_backbone
from danlu.objects import ObjectBatch, Objects, collate

RESULTS = Path(__file__).resolve().parent / "results" / "detection_speed.md"
CLASSES, OBJECTS = 20, 8  # objects in an image
GOAL = 1.5


@dataclass(frozen=True)
class Pair:
    """A detector of danlu and its torchvision counterpart. options: settings that make ours the same network."""

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


class Trainer:
    """Train one network repeatedly on one batch."""

    def __init__(self, model: nn.Module, loss: Callable[[], Tensor], fused: bool) -> None:
        self.loss = loss
        self.parameters = sum(p.numel() for p in model.parameters())
        trained = [p for p in model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.SGD(trained, lr=1e-5, momentum=0.9, fused=fused)

    def step(self) -> None:
        self.optimiser.zero_grad()
        self.loss().backward()
        self.optimiser.step()

    def convolutions(self) -> float:
        """Fraction of the time of a step that convolutions take."""
        with profile(activities=[ProfilerActivity.CPU]) as record:
            self.step()
        events = record.key_averages()
        inside = sum(e.self_cpu_time_total for e in events if "conv" in e.key and e.key.startswith("aten::"))
        return inside / sum(e.self_cpu_time_total for e in events)


def draw(pair: Pair) -> tuple[Tensor, ObjectBatch]:
    """Make noise images with objects of 1/8 to 1/2 of their side."""
    torch.manual_seed(0)
    images, batch = torch.randn(pair.batch, 3, pair.size, pair.size), []
    for _ in range(pair.batch):
        sides = pair.size * (1 / 8 + 3 / 8 * torch.rand(OBJECTS, 2))
        corners = torch.rand(OBJECTS, 2) * (pair.size - sides)
        boxes = torch.cat([corners, corners + sides], 1)
        masks = torch.zeros(OBJECTS, pair.size, pair.size, dtype=torch.uint8) if pair.masks else None
        for mask, (x1, y1, x2, y2) in zip(masks if masks is not None else (), boxes.int().tolist()):
            mask[y1:y2, x1:x2] = 1
        labels, ignore = torch.randint(CLASSES, (OBJECTS,)), torch.zeros(OBJECTS, dtype=torch.bool)
        batch.append(Objects(boxes, labels, ignore, masks))
    return images, collate(batch)


def ours(pair: Pair, precision: str, channels_last: bool) -> Trainer:
    """Build danlu's trainer as `danlu train` does, at the given precision."""
    keep_freed_memory()
    images, objects = draw(pair)
    backbone = build_backbone(pair.backbone or DETECTORS[pair.ours].backbone or "", channels=3, size=pair.size)
    model = build_detector(pair.ours, backbone, classes=CLASSES, size=pair.size, **pair.options).train()
    model, images = _laid_out(model, images, channels_last)

    def loss() -> Tensor:
        with _arithmetic(precision):
            outputs = model(images)
        return model.losses(outputs, objects)["loss"]

    return Trainer(model, loss, fused=True)


def theirs(pair: Pair, precision: str, channels_last: bool) -> Trainer:
    """Build torchvision's trainer: images and targets as lists, no resizing, frozen batch norms."""
    import torchvision

    images, objects = draw(pair)
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
    model, images = _laid_out(model, images, channels_last)
    targets = []
    for i in range(pair.batch):
        one = objects.image(i)
        targets.append({"boxes": one.boxes, "labels": one.labels + background})
        if pair.masks:
            targets[-1]["masks"] = one.masks

    def loss() -> Tensor:
        with _arithmetic(precision):
            return torch.stack(list(model(list(images), targets).values())).sum()

    return Trainer(model, loss, fused=False)


def _laid_out(model: nn.Module, images: Tensor, channels_last: bool) -> tuple[Any, Tensor]:
    memory = torch.channels_last if channels_last else torch.contiguous_format
    return model.to(memory_format=memory), images.contiguous(memory_format=memory)  # type: ignore[call-overload]


def _arithmetic(precision: str) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


class Contender:
    """A trainer in its own process. goal: the name of its comparison, or an empty string."""

    def __init__(self, name: str, build: Callable[..., Trainer], *settings: Any, goal: str = "") -> None:
        self.name, self.goal = name, goal
        self.seconds: list[float] = []
        context = multiprocessing.get_context("spawn")
        self.line, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far, build, *settings), daemon=True)
        self.process.start()
        far.close()
        self.parameters: int = self.line.recv()

    def ask(self, request: int | str) -> float:
        """Time of a number of steps in seconds, or the fraction of "convolutions"."""
        self.line.send(request)
        return self.line.recv()

    def close(self) -> None:
        self.line.close()
        self.process.join()


def _serve(line: Connection, build: Callable[..., Trainer], *settings: Any) -> None:
    trainer = build(*settings)
    trainer.step()
    line.send(trainer.parameters)
    while True:
        try:
            request = line.recv()
        except EOFError:
            return
        if request == "convolutions":
            line.send(trainer.convolutions())
            continue
        start = time.perf_counter()
        for _ in range(request):
            trainer.step()
        line.send(time.perf_counter() - start)


def contenders(pair: Pair) -> list[Contender]:
    """List the contenders, torchvision first; danlu's float32 uses its own memory format."""
    backbone = pair.backbone or DETECTORS[pair.ours].backbone or ""
    best = probe_format(lambda: build_backbone(backbone, channels=3, size=pair.size), draw(pair)[0])
    found = [Contender("torchvision", theirs, pair, "fp32", False)]
    last = ", channels last" if best.channels_last else ""
    equal = "equal arithmetic" if best.precision != "fp32" else "equal arithmetic, and each its defaults"
    found.append(Contender(f"danlu fp32{last}", ours, pair, "fp32", best.channels_last, goal=equal))
    if best.precision != "fp32":
        name = f"danlu {best.precision}{last}"
        found.append(Contender(name, ours, pair, best.precision, best.channels_last, goal="each its defaults"))
        name = f"torchvision {best.precision}{last}, by hand"
        found.append(Contender(name, theirs, pair, best.precision, best.channels_last))
    return found


def measure(pair: Pair, rounds: int, steps: int) -> str:
    """Measure one pair; return its section of the page."""
    rivals = contenders(pair)
    for number in range(rounds):
        turn = number % len(rivals)
        for rival in rivals[turn:] + rivals[:turn]:
            rival.seconds.append(rival.ask(steps))
    fraction = rivals[0].ask("convolutions")
    for rival in rivals:
        rival.close()
    lines = [
        f"## {pair.ours} and torchvision/{pair.theirs}",
        "",
        f"{pair.size} pixels, batch {pair.batch}, {OBJECTS} objects in an image; {rounds} rounds of {steps} steps.",
        "",
        "| | parameters | images/s, median | beside torchvision | of the rounds, min - max | comparison | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    reference = rivals[0].seconds
    for rival in rivals:
        speed = pair.batch * steps / median(rival.seconds)
        ratio = median(reference) / median(rival.seconds)
        ratios = [a / b for a, b in zip(reference, rival.seconds)]
        goal = f">= {GOAL:g}, {'reached' if ratio >= GOAL else 'missed'}" if rival.goal else ""
        spread = f"{min(ratios):.2f} - {max(ratios):.2f}"
        row = [rival.name, f"{rival.parameters:,}", f"{speed:.2f}", f"{ratio:.2f}", spread, rival.goal, goal]
        lines.append(f"| {' | '.join(row)} |")
    bound = f"Convolutions are {fraction:.0%} of torchvision's step. If everything else took no time, "
    return "\n".join([*lines, "", f"{bound}a step in float32 would be {1 / fraction:.2f} times as fast."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[pair.ours for pair in PAIRS], help="may be repeated")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds per contender [7]")
    parser.add_argument("--steps", type=int, default=3, help="steps in a round [3]")
    parser.add_argument("--quick", action="store_true", help="two rounds of one step, to test the script")
    options = parser.parse_args()
    rounds, steps = (2, 1) if options.quick else (options.rounds, options.steps)
    load = os.getloadavg()[0]
    busy = " (BUSY: do not trust the figures)" if load > 0.5 else ""
    parts = [
        "# Training speed of detectors\n\n"
        f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads; load before the run "
        f"{load:.1f}{busy}. "
        f"danlu {version('danlu')}, torch {torch.__version__}, torchvision {version('torchvision')}."
        + "\n\nQUICK: a test of the script, too short to measure."
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
