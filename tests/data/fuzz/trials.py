"""One trial of the fuzz: write a set, change it, read it with danlu, and compare with the truth."""

from __future__ import annotations

import random
import tempfile
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from damage import HARMFUL, HARMLESS, cut_image, missing_image, spoil_one, thumbnails, wholesome
from image_formats import IMAGE_FORMATS
from object_formats import OBJECT_FORMATS
from truth import Plan, Sample, digest, random_plan

from danlu.config import DataConfig
from danlu.data.annotations import Annotation
from danlu.data.canvas import Placement
from danlu.data.dataset import TEST, TRAIN, VAL, Dataset, ImageFiles
from danlu.data.formats import open_dataset
from danlu.refuse import Refusal

SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}
TOLERANCE = 0.05  # pixels, for what is written with six decimals or in percent
BOXES_ONLY = ("voc", "createml", "kitti", "csv boxes", "json boxes")
ANY_CORNERS = ("dota", "labelme", "via", "label studio")  # rectangles by corners in any order
WORDS = ("kitti", "dota")  # formats of lines, whose classes are words


@dataclass
class Outcome:
    """The result of a trial. refused: danlu's sentence, if it refused. wrong: a silent misreading, in words."""

    seed: int
    form: str
    changes: list[str] = field(default_factory=list)
    refused: str = ""
    wrong: str = ""

    def __str__(self) -> str:
        return f"seed {self.seed} {self.form} {self.changes}: {self.wrong or self.refused or 'read'}"


def run_trial(seed: int, only: str | None = None) -> Outcome:
    """Write, change and read one random set."""
    rng = random.Random(seed)
    form = rng.choice([*OBJECT_FORMATS, *IMAGE_FORMATS])
    form = only or form
    labelled = form in IMAGE_FORMATS
    plan = random_plan(rng, labelled, form not in BOXES_ONLY, form in WORDS)
    outcome = Outcome(seed, form)
    spoilt = (
        spoil_one(plan, form in ANY_CORNERS) if not labelled and "masks" not in form and rng.random() < 0.15 else None
    )
    with tempfile.TemporaryDirectory(prefix="danlu-fuzz-") as folder:
        root = Path(folder) / "x"
        root.mkdir()
        (OBJECT_FORMATS | IMAGE_FORMATS)[form](plan, root)
        if spoilt is not None and not any(thing.fault for thing in spoilt.objects):
            spoilt = None  # what is wrong with the object cannot be written in this form
        lost: list[Sample] = []
        if rng.random() < 0.3:
            change = rng.choice(HARMFUL)
            if form == "folder" and change is missing_image:  # nothing lists the images
                change = cut_image
            lost = change(plan, root)
            outcome.changes.append(change.__name__)
        for harmless in sorted(rng.sample(HARMLESS, rng.choice((0, 0, 1, 1, 2, 3))), key=HARMLESS.index):
            if not lost or harmless.__name__ in ("other_files", "empty_folder"):
                harmless(plan, root)
                outcome.changes.append(harmless.__name__)
        outcome.changes += plan.notes
        skip = rng.random() < 0.5
        segment = not labelled and plan.outlines and "masks" not in form and rng.random() < 0.3
        config = DataConfig(path=str(root), on_bad="skip" if skip else "stop")
        try:
            data = open_dataset(config, "segment" if segment else None)
        except Refusal as refusal:
            outcome.refused = str(refusal).replace(folder, "")
            if "\n" in outcome.refused or "Traceback" in outcome.refused:
                outcome.wrong = f"the refusal is no sentence: {outcome.refused}"
            return outcome
        except Exception as error:  # a crash is a failure of the trial, whatever it is
            outcome.wrong = f"crash: {type(error).__name__}: {error}"
            return outcome
        faults = list(compare(data, plan, lost, spoilt, form))
        if faults:
            outcome.wrong = "; ".join(faults)[:600]
    return outcome


def compare(data: Dataset, plan: Plan, lost: list[Sample], spoilt: Sample | None, form: str) -> list[str]:
    """Differences between what was read and the truth that danlu does not name."""
    if data.format != form:
        return [f"read as {data.format}: {data.seen}; {len(data)} samples, classes {data.classes}"]
    assert isinstance(data.inputs, ImageFiles)
    faults: list[str] = []
    truth = {sample.key: sample for sample in plan.samples}
    told = unicodedata.normalize("NFC", "\n".join(f"{p.where} {p.reason}" for p in data.problems))
    seen: Counter[str] = Counter()
    for i, path in enumerate(data.inputs.paths):
        key = digest(path.read_bytes())
        if key not in truth:
            faults.append(f"{data.name_of(i)} is read and is no sample")
            continue
        sample = truth[key]
        seen[key] += 1
        faults += _differences(data, i, sample)
        if sample.split and data.given is not None and int(data.given[i]) != SPLITS[sample.split]:
            faults.append(f"{data.name_of(i)} is of split {sample.split}, read as {int(data.given[i])}")
    faults += [f"{truth[key].path} is read {n} times" for key, n in seen.items() if n > 1]
    left = {truth[key].split for key in seen}
    if plan.splits and data.given is None and "train" in left and len(left) > 1:
        faults.append(f"the splits {plan.splits} are not read")
    if not plan.splits and data.given is not None:
        faults.append(f"splits are read where there are none: {data.given.tolist()}")
    unlabelled = {name for name, code in SPLITS.items() if code in data.unlabelled}
    for sample in plan.samples:
        named = sample.stem in told or (sample in lost and len(lost) > 1 and "json" in told)
        if sample.key not in seen and not named and sample.split not in unlabelled:
            faults.append(f"{sample.path} is not read and not named")
        if f"class {sample.label!r} has no usable training image" in told:
            continue
        if sample.key not in seen and sample not in lost and named:
            faults.append(f"{sample.path} is whole and not read: {_line_of(told, sample.stem)}")
    if spoilt is not None and spoilt.key in seen and spoilt.stem not in told and "annotation" not in told:
        faults.append(f"the spoilt object of {spoilt.path} is not named in {told!r}")
    return faults


def _line_of(told: str, stem: str) -> str:
    return next((line for line in told.splitlines() if stem in line), "")


def _differences(data: Dataset, i: int, sample: Sample) -> list[str]:
    target = data.targets[i]
    if isinstance(target, torch.Tensor):
        label = data.classes[int(target)]
        return [] if label == sample.label else [f"{data.name_of(i)} is {sample.label!r}, read as {label!r}"]
    wanted = sorted((thing.label, thing.box) for thing in wholesome(sample))
    pairs = zip(target.labels.tolist(), target.boxes.tolist())
    found = sorted((data.classes[k], tuple(round(v, 1) for v in box)) for k, box in pairs)
    same = len(wanted) == len(found) and all(
        a[0] == b[0] and np.allclose(a[1], b[1], atol=TOLERANCE) for a, b in zip(wanted, found)
    )
    if not same:
        return [f"{data.name_of(i)} has {wanted}, read {found}"]
    if bool(target.ignore.any()):
        return [f"objects of {data.name_of(i)} are ignored"]
    return _wrong_masks(data, i, target, sample)


def _wrong_masks(data: Dataset, i: int, target: Annotation, sample: Sample) -> list[str]:
    """Masks whose area is not that of the object's outline."""
    if target.shapes is None or not len(target) or data.format == "dota":  # whose corners are turned at random
        return []
    height, width = target.size
    masks = target.masks(Placement((height, width), (height, width), (1.0, 1.0), (0.0, 0.0)))
    boxes = {thing.box: thing for thing in wholesome(sample)}
    faults = []
    for mask, box in zip(masks, target.boxes.tolist()):
        thing = next(t for b, t in boxes.items() if np.allclose(b, box, atol=TOLERANCE))
        x1, y1, x2, y2 = thing.box
        area = _area(np.array(thing.ring)) if thing.ring else (x2 - x1) * (y2 - y1)
        full = (x2 - x1) * (y2 - y1)
        got = float(mask.sum())
        edge = 2 * ((x2 - x1) + (y2 - y1))
        if abs(got - area) > edge and abs(got - full) > 1:  # a box of run lengths fills its corners
            faults.append(f"a mask of {data.name_of(i)} has {got:g} pixels, its outline {area:g}")
        if mask.sum() != mask[int(y1) : int(y2), int(x1) : int(x2)].sum():
            faults.append(f"a mask of {data.name_of(i)} reaches beyond its box")
    return faults


def _area(ring: np.ndarray) -> float:
    x, y = ring.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def may_be_refused(outcome: Outcome, plan_changes: list[str]) -> bool:
    """Whether a refusal is in place: something was damaged, or thumbnails make names ambiguous."""
    return any(name in plan_changes for name in [f.__name__ for f in HARMFUL] + [thumbnails.__name__]) or any(
        change.startswith("object ") for change in outcome.changes
    )
