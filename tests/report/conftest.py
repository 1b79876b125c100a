"""Run folders of real models: a logistic regression on digits, a ridge regression on diabetes."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import Ridge, SGDClassifier
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from danlu.config import dump_yaml, from_dict
from danlu.data.canvas import letterbox
from danlu.data.sources.named.shapes import CLASSES, draw
from danlu.doctor.diagnose import diagnose
from danlu.doctor.ledger import Ledger
from danlu.objects import Detections
from danlu.report.images import to_data_uri
from danlu.run.folder import Run
from danlu.tasks.detect import Detect, ImageDetections
from danlu.tasks.task import Evaluation

EPOCHS = 12
HOSTILE = [
    "<script>document.title='owned'</script>",
    "\"'><img src=x onerror=alert(1)>",
    "丹炉里的火",
    "x" * 300,
    "&lt;b&gt;",
    "a\u202eb",
    "</script>",
    "%{x}",
    "var(--ink)",
    "$HOME\\n",
]


def _write(folder: Path, config: dict[str, Any], rows: list[dict], **files: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_yaml(from_dict(config)), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value, ensure_ascii=True), encoding="utf-8")
    return folder


ENVIRONMENT = {
    "danlu": "0.1.0",
    "python": "3.11.2",
    "torch": "2.11.0",
    "platform": "Linux x86_64",
    "processor": "2 cores",
    "git": "none",
}


def digits_run(folder: Path, names: list[str] | None = None, repeat: int = 1) -> Path:
    """Ten classes, or 10 * repeat: every digit then stands for `repeat` classes told apart by nothing but chance."""
    data = load_digits()
    images = torch.from_numpy((data.images * 15.9).astype(np.uint8))[:, None]
    labels = data.target + 10 * (np.arange(len(data.target)) % repeat)
    k = 10 * repeat
    names = names or (
        [str(i) for i in range(k)] if repeat == 1 else [f"class {i % 10}-{'abcdefghij'[i // 10]}" for i in range(k)]
    )
    x = data.data / 16
    train, test = slice(0, 1200), slice(1200, None)
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05, random_state=0)
    rows, every = [], list(range(k))
    for epoch in range(1, EPOCHS + 1):
        for part in range(5):
            cut = slice(240 * part, 240 * (part + 1))
            model.partial_fit(x[train][cut], labels[train][cut], classes=every)
            loss = log_loss(labels[cut], model.predict_proba(x[cut]), labels=every)
            step = 5 * (epoch - 1) + part + 1
            rows.append(
                {
                    "kind": "step",
                    "step": step,
                    "epoch": epoch,
                    "train.loss": loss,
                    "lr": 0.05 * (1 + math.cos(step * math.pi / 60)) / 2,
                }
            )
        row: dict[str, Any] = {
            "kind": "epoch",
            "epoch": epoch,
            "step": 5 * epoch,
            "lr": rows[-1]["lr"],
            "seconds": 1.1 * epoch,
        }
        row["samples_per_second"] = 19000.0 + 300 * (epoch % 4)
        for split, part in (("train", train), ("val", test)):
            probabilities = model.predict_proba(x[part])
            row[f"{split}.loss"] = log_loss(labels[part], probabilities, labels=every)
            row[f"{split}.accuracy"] = float((probabilities.argmax(1) == labels[part]).mean())
        row["val.f1"] = row["val.accuracy"] - 0.01
        row["val.ece"] = 0.2 / epoch
        rows.append(row)
    probabilities = model.predict_proba(x[test])
    said, true, sure = probabilities.argmax(1), labels[test], probabilities.max(1)
    precision, recall, f1, support = precision_recall_fscore_support(true, said, labels=every, zero_division=0)
    edges = np.linspace(0, 1, 16)
    bins = []
    for low, high in itertools.pairwise(edges):
        inside = (sure > low) & (sure <= high)
        count = int(inside.sum())
        bins.append(
            {"low": low, "high": high, "count": count}
            | {
                "confidence": float(sure[inside].mean()) if count else 0.0,
                "accuracy": float((said == true)[inside].mean()) if count else 0.0,
            }
        )
    wrong = np.flatnonzero(said != true)
    wrong = wrong[np.argsort(-sure[wrong])][:16]
    accuracy = float((said == true).mean())
    scores = {
        "loss": log_loss(true, probabilities, labels=every),
        "accuracy": accuracy,
        "top5": 0.9949,
        "f1": float(f1.mean()),
        "ece": 0.0234,
    }
    summary = {
        "run": str(folder.name), "task": "classify", "model": "linear", "epochs": EPOCHS, "parameters": 650,
        "metrics": {"train": {"loss": rows[-1]["train.loss"], "accuracy": rows[-1]["train.accuracy"]}, "val": scores, "test": scores},
        "seconds": 13.27, "samples_per_second": 20012.3, "findings": [], "best_epoch": 9, "monitor": "accuracy",
        "data": {
            "path": "digits", "format": "scikit-learn", "counts": {"train": 1000, "val": 200, "test": 597}, "classes": names,
            "input": [1, 8, 8], "notes": ["Images are kept as one uint8 tensor."], "problems": [{"where": f"{names[0]}/7.png", "reason": "zero bytes"}],
        },
        "choices": [
            {"key": "optim.lr", "value": 0.1, "reason": "1,000 samples and a linear network: a large rate is safe"},
            {"key": "augment.preset", "value": "light", "reason": "images of 8 x 8 pixels"},
            {"key": "epochs", "value": EPOCHS, "reason": "small set: 12 passes take seconds"},
        ],
        "timings": {"data": 0.41, "training": 11.9, "evaluation": 0.96}, "test_looks": 1, "stopped": None, "folds": None,
        "evaluation": {
            "split": "test", "confusion": confusion_matrix(true, said, labels=every).tolist(), "reliability": bins,
            "per_class": [
                {"name": n, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
                for n, p, r, f, s in zip(names, precision, recall, f1, support)
            ],
            "mistakes": [
                {"name": f"{names[true[i]]}/{i}.png", "image": to_data_uri(images[test][i], 96), "true": names[true[i]]}
                | {"said": names[said[i]], "confidence": float(sure[i])}
                for i in wrong
            ],
        },
        "augmented": [to_data_uri(images[i].roll(i % 3 - 1, 2), 96) for i in range(16)],
    }  # fmt: skip
    config = {
        "data": "digits",
        "task": "classify",
        "model": "linear",
        "epochs": EPOCHS,
        "optim.lr": 0.1,
        "augment.preset": "light",
        "batch_size": 64,
    }
    return _write(folder, config, rows, summary=summary, environment=ENVIRONMENT, findings=[])


def diabetes_run(folder: Path) -> Path:
    """A regression, cross validated, with two findings."""
    x, y = load_diabetes(return_X_y=True)
    rows: list[dict[str, Any]] = []
    for epoch in range(1, 41):
        predicted = Ridge(alpha=20 / epoch).fit(x[:300], y[:300]).predict(x)
        row: dict[str, Any] = {
            "kind": "epoch",
            "epoch": epoch,
            "step": 10 * epoch,
            "lr": 0.01,
            "seconds": 0.1 * epoch,
            "samples_per_second": 9e4,
        }
        for split, part in (("train", slice(0, 300)), ("val", slice(300, None))):
            error = predicted[part] - y[part]
            row[f"{split}.loss"] = float((error**2).mean() / 2)
            row[f"{split}.r2"] = float(1 - (error**2).mean() / y[part].var())
            row[f"{split}.mae"] = float(abs(error).mean())
        rows.append(row)
    worst = np.argsort(-abs(predicted - y))[:12]
    splits = {s: {k.split(".")[1]: v for k, v in rows[-1].items() if k.startswith(s)} for s in ("train", "val")}
    summary = {
        "run": "runs/diabetes", "task": "regress", "model": "linear", "epochs": 40, "parameters": 11, "metrics": splits,
        "seconds": 4.1, "samples_per_second": 91234.0, "best_epoch": 38, "monitor": "loss", "test_looks": 0,
        "data": {"path": "diabetes", "format": "scikit-learn", "counts": {"train": 300, "val": 142}, "classes": [], "input": [10]},
        "timings": {"data": 0.02, "training": 4.0, "evaluation": 0.01}, "stopped": "early stopping at epoch 40",
        "folds": [{"fold": i, "val": {"loss": 1500.0 + 90 * i, "r2": 0.45 + 0.01 * i, "mae": 44.0 - i}} for i in range(5)],
        "evaluation": {
            "split": "val", "scatter": np.stack([y[300:], predicted[300:]], 1).tolist(),
            "worst": [{"name": f"row {i}", "true": float(y[i]), "predicted": float(predicted[i])} for i in worst],
        },
    }  # fmt: skip
    findings = [
        {"code": "low-rate", "severity": "warning", "confidence": 0.86, "where": "optim.lr", "evidence": "the training loss still falls by 0.4 % an epoch at the end",
         "cause": "The learning rate is too small for the epochs given", "remedy": {"optim.lr": 0.1}},
        {"code": "scale", "severity": "info", "confidence": 0.4, "where": "data", "evidence": ["targets reach 346"], "cause": "Targets are far from unit scale", "remedy": "standardise them with --data.standardise_target true"},
    ]  # fmt: skip
    config = {"data": "diabetes", "task": "regress", "model": "linear", "epochs": 40}
    return _write(folder, config, rows, summary=summary, environment=ENVIRONMENT, findings=findings)


def shapes_run(folder: Path, names: tuple[str, ...] = CLASSES, anchors: bool = False) -> Path:
    """Drawn shapes, and detections near them, misplaced, of another class, doubled or made up."""
    images, annotations = draw(40, 128, seed=1)
    rng, answers = np.random.default_rng(0), []
    for one in annotations:
        boxes = one.boxes.repeat(2, 1) + torch.from_numpy(rng.normal(0, 3, (2 * len(one), 4))).float()
        labels = torch.where(torch.from_numpy(rng.random(2 * len(one)) < 0.8), one.labels.repeat(2), 0)
        scores = torch.from_numpy(rng.beta(3, 2, 2 * len(one))).float()
        order = scores.argsort(descending=True)[: rng.integers(0, 2 * len(one) + 1)]
        answers.append(ImageDetections(Detections(boxes[order].clamp(0, 128), scores[order], labels[order]), 0.8))
    placements = [letterbox(one.size, 128) for one in annotations]
    task = Detect(names, annotations, placements, masks=False, nms_iou=0.6, max_detections=100)
    evaluation = Evaluation(answers, [task.truth(i) for i in range(40)], torch.arange(40))
    metrics = task.metrics(evaluation)
    details = task.details(evaluation, lambda i: f"{names[0]}/{i}.png", lambda i: to_data_uri(images[i], 128))
    sizes = {"side": 128, "edges": [8.0, 11.3, 16.0, 22.6, 32.0], "counts": [3, 40, 61, 0]}
    sizes |= {"coverage": [0.1, 0.8, 1.0, None], "covered": 0.87} if anchors else {"strides": [8.0, 16.0, 32.0]}
    rows = []
    for epoch in range(1, 9):
        row = {"kind": "epoch", "epoch": epoch, "step": 20 * epoch, "lr": 0.001, "samples_per_second": 150.0}
        row |= {"train.loss": 2 / epoch, "train.class": 1.2 / epoch, "train.box": 0.8 / epoch, "val.loss": 2.2 / epoch}
        rows.append(row | {f"val.{k}": v * epoch / 8 for k, v in metrics.items() if k != "loss"})
    summary = {
        "run": folder.name, "task": "detect", "model": "yolo-nano", "epochs": 8, "best_epoch": 8, "monitor": "mAP",
        "metrics": {"train": {"loss": 0.25}, "val": metrics, "test": metrics}, "seconds": 60.0,
        "data": {"path": "shapes", "format": "drawn", "counts": {"train": 40, "val": 40, "test": 40}, "classes": list(names)},
        "evaluation": {"split": "test"} | details | {"sizes": sizes},
    }  # fmt: skip
    config = {"data": "shapes", "task": "detect", "model": "yolo-nano", "epochs": 8}
    return _write(folder, config, rows, summary=summary, environment=ENVIRONMENT, findings=[])


def troubled_run(folder: Path, language: str = "en") -> Path:
    """The digits with all that the doctor can find in one ledger: what vanishes, dies, bounces and is learnt by heart."""
    run = digits_run(folder)
    ledger = Ledger()
    for k in range(24):
        layer = f"encoder.blocks.{k}.a_rather_long_name.linear"
        ledger.add("layer.order", k, layer)
        ledger.add("layer.kind", "Linear", layer)
        for step in (1, 50, 100):
            ledger.add("layer.gradient", 0.2 ** (23 - k), layer, step)
            ledger.add("activation.dead_units", 0.1 if k % 3 else 0.99, layer, step)
            ledger.add("activation.dead_samples", 128, layer, step)
    for step in range(1, 400):
        ledger.add("loss.step", 2.3 if step < 30 else 4e6 / step, "", step)
        ledger.add("update.cosine", -0.9 + 0.05 * (step % 2), "", step)
    ledger.add("optimizer.lr", 3.0, "optimizer0.group0", 0)
    ledger.add("loss.kind", "cross_entropy")
    ledger.add("output.count", 10)
    ledger.add("class.actual", [0.1] * 10, "train", 1)
    for epoch in range(1, 9):
        ledger.add("loss.mean", 2.0 / epoch, "train", epoch)
        ledger.add("loss.mean", 1.0 + 0.2 * abs(epoch - 3), "val", epoch)
    ledger.save(Run(run).ledger)
    findings = [finding.to_dict() for finding in diagnose(ledger, language)]
    (run / "findings.json").write_text(json.dumps(findings), encoding="utf-8")
    if language != "en":
        config = (run / "config.yaml").read_text(encoding="utf-8")
        (run / "config.yaml").write_text(config.replace("language: en", f"language: {language}"), encoding="utf-8")
    return run


def interrupted_run(folder: Path) -> Path:
    """Killed in its fourth epoch: no summary, and a last line cut short."""
    whole = digits_run(folder.with_name(folder.name + "-whole"))
    lines = (whole / "metrics.jsonl").read_text().splitlines()
    folder.mkdir()
    (folder / "config.yaml").write_text((whole / "config.yaml").read_text())
    (folder / "environment.json").write_text((whole / "environment.json").read_text())
    (folder / "metrics.jsonl").write_text("\n".join(lines[:20]) + "\n" + lines[20][:30])
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {
    "digits": digits_run,
    "hundred": lambda folder: digits_run(folder, repeat=10),
    "hostile": lambda folder: digits_run(folder, names=HOSTILE),
    "diabetes": diabetes_run,
    "shapes": shapes_run,
    "hostile-shapes": lambda folder: shapes_run(folder, tuple(HOSTILE[:3]), anchors=True),
    "interrupted": interrupted_run,
    "troubled": troubled_run,
    "troubled-zh": lambda folder: troubled_run(folder, "zh"),
}


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """kind -> a run folder; each kind is made once a session, so tests that change files copy it first."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = MAKERS[kind](tmp_path_factory.mktemp("run") / kind)
        return made[kind]

    return make
