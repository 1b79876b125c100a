"""Logs of other tools: each format in its true shape, refusals, and the findings that curves show."""

from __future__ import annotations

import base64
import gzip
import json
import math
import random
import struct
from pathlib import Path

import pytest

from danlu.doctor.curves.columns import is_learning_rate, is_loss, is_metric, is_validation
from danlu.doctor.curves.judge import LogDiagnosis, diagnose_log, judge
from danlu.doctor.curves.log import Curve, Log, Point
from danlu.doctor.curves.record import recorded_curves
from danlu.doctor.curves.table import READERS
from danlu.doctor.findings.table import FINDINGS
from danlu.message import table
from danlu.refuse import Refusal

TRAIN = [1 / (epoch + 1) for epoch in range(4)]
VAL = [1.5 / (epoch + 1) for epoch in range(4)]
# Written by torch.utils.tensorboard with TensorBoard 2.21: Loss/train as simple_value, Loss/val in turn as
# simple_value and as tensor (new_style=True), four steps of TRAIN and VAL.
EVENTS = (
    "H4sIAAAAAAACA/NggIB/kzzmcp5Qki+4deiWoxRvUlFiZp6ea1lqXomVUZAel05Jal5xflFSfmJRil5xaW5uYlGlXnlRZklqkV4q"
    "SFV8WmZOajxE5G6BVJ8c1Nybd4SMOBfqQszVEuYS5OLyyS8u1i8BWSDKwNBgr8M710cGqvrEwamynBl6UNWCXPxcHGDVZYk5QLUH"
    "7A9PUipRgKrVfLsygPMNVK0AIxazGeyXH5YOMYCqn/r1QjznVn24emUuRYTpThwcjFosDAwO9l7cXJxc7MXJiTmJRcWBvc6fUOyT"
    "MIDqZ8Kwb/WqVXa+i8NZUXyejVCP7hsG+7xuwfMopu+GqWbGFlJ29/ZH6KD4ps0Qrh6rbw7YofhmZlvTYgA2A70+8AEAAA=="
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def ultralytics(folder: Path) -> None:
    names = "epoch,time,train/box_loss,train/cls_loss,train/dfl_loss,metrics/precision(B),metrics/mAP50(B),"
    names += "val/box_loss,val/cls_loss,val/dfl_loss,lr/pg0"
    padded = ",".join(f"{name:>23}" for name in names.split(","))  # as up to version 8.2
    rows = [
        f"{i + 1},{9.5 * i},{t / 2},{t / 4},{t / 4},0.5,{0.2 * i},{v / 2},{v / 4},{v / 4},0.01"
        for i, (t, v) in enumerate(zip(TRAIN, VAL))
    ]
    write(folder / "results.csv", "\n".join([padded, *rows]) + "\n")


def lightning(folder: Path) -> None:
    lines = ["epoch,lr-Adam,step,train_loss_epoch,train_loss_step,val_acc,val_loss", ",0.01,0,,,,"]
    for i, (t, v) in enumerate(zip(TRAIN, VAL)):
        lines += [f"{i},,{8 * i + 3},,{t},,", f"{i},,{8 * i + 7},,{t},,", f"{i},,{8 * i + 7},,,0.6,{v}"]
        lines += [f"{i},,{8 * i + 7},{t},,,", f",0.01,{8 * i + 8},,,,"]
    write(folder / "lightning_logs/version_0/metrics.csv", "\n".join(lines))


def hugging_face(folder: Path) -> None:
    for kept in (2, 4):
        history: list[dict[str, float]] = []
        for i, (t, v) in enumerate(zip(TRAIN[:kept], VAL)):
            rate = {"grad_norm": 0.6, "learning_rate": 5e-5 * (1 - i / 4)}
            history.append({"epoch": i + 0.5, "loss": t, "step": 10 * i + 5, **rate})
            history.append({"epoch": i + 1.0, "eval_loss": v, "eval_runtime": 0.01, "step": 10 * i + 10})
        history.append({"epoch": kept, "step": 10 * kept, "total_flos": 1e9, "train_loss": 0.5, "train_runtime": 3.0})
        state = {"epoch": kept, "eval_steps": 500, "global_step": 10 * kept, "log_history": history}
        write(folder / f"out/checkpoint-{10 * kept}/trainer_state.json", json.dumps(state))


def keras_history(folder: Path) -> None:
    write(folder / "history.json", json.dumps({"accuracy": [0.5] * 4, "loss": TRAIN, "val_loss": VAL}))


def keras_csv(folder: Path) -> None:
    rows = [f"{i},0.5,{t},0.5,{v}" for i, (t, v) in enumerate(zip(TRAIN, VAL))]
    write(folder / "training.log.csv", "\n".join(["epoch,accuracy,loss,val_accuracy,val_loss", *rows]))


def tensorboard(folder: Path) -> None:
    (folder / "events.out.tfevents.1.host.1.0").write_bytes(gzip.decompress(base64.b64decode("".join(EVENTS))))


def mlflow(folder: Path) -> None:
    run = folder / "mlruns/0/fc3f8a7fd0bb4bd7bb27513bfb5b7a6d"
    for name, values in (("train_loss", TRAIN), ("val/loss", VAL)):
        write(run / "metrics" / name, "".join(f"17959090{i:05} {v} {i}\n" for i, v in enumerate(values)))
    write(run / "meta.yaml", "run_id: fc3f8a7fd0bb4bd7bb27513bfb5b7a6d\n")


def wandb(folder: Path) -> None:
    """By the schema of wandb_internal.proto; the first record is longer than a block of 32 KiB."""

    def field(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    def varint(value: int) -> bytes:
        return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([value])

    records = [field(17, field(1, b"x" * 40_000))]  # Record.run
    for i, (t, v) in enumerate(zip(TRAIN, VAL)):
        row = {"train/loss": t, "val/loss": v, "_step": i, "_timestamp": 1e9}
        items = [field(1, field(2, key.encode()) + field(16, json.dumps(one).encode())) for key, one in row.items()]
        records.append(field(2, b"".join(items)))
    data = b":W&B\xe1\xbe\x00"
    for record in records:
        left, first = record, True
        while left or first:
            room = 32768 - len(data) % 32768
            if room < 7:
                data += b"\0" * room
                room = 32768
            piece, left = left[: room - 7], left[room - 7 :]
            kind = (1 if first else 4) if not left else (2 if first else 3)
            data += b"\0\0\0\0" + struct.pack("<HB", len(piece), kind) + piece
            first = False
    target = folder / "wandb/offline-run-20260101_000000-abc/run-abc.wandb"
    target.parent.mkdir(parents=True)
    target.write_bytes(data)


def wandb_history(folder: Path) -> None:
    rows = [{"train/loss": t, "val/loss": v, "_step": i, "_runtime": 1} for i, (t, v) in enumerate(zip(TRAIN, VAL))]
    write(folder / "wandb-history.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def timm(folder: Path) -> None:
    rows = [f"{i},{t},{v},{50 + i},{80 + i},0.1" for i, (t, v) in enumerate(zip(TRAIN, VAL))]
    write(folder / "summary.csv", "\n".join(["epoch,train_loss,eval_loss,eval_top1,eval_top5,lr", *rows]))


def plain_csv(folder: Path) -> None:
    rows = [f"{i + 1},{t},{v}" for i, (t, v) in enumerate(zip(TRAIN, VAL))]
    write(folder / "log.csv", "\n".join(["epoch,trainLoss,validLoss", *rows]))


def plain_jsonl(folder: Path) -> None:
    rows = [{"epoch": i, "loss": t, "val_loss": v} for i, (t, v) in enumerate(zip(TRAIN, VAL))]
    write(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in rows) + '{"epoch": 5, "lo')


FORMATS = {
    ultralytics: "Ultralytics",
    lightning: "Lightning",
    hugging_face: "Hugging Face Trainer",
    keras_history: "Keras",
    keras_csv: "Keras",
    tensorboard: "TensorBoard",
    mlflow: "MLflow",
    wandb: "Weights & Biases",
    wandb_history: "Weights & Biases",
    timm: "timm",
    plain_csv: "table",
    plain_jsonl: "table",
}


def diagnosed(path: Path) -> LogDiagnosis:
    found = diagnose_log(path)
    assert found is not None
    return found


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_each_format_is_read_from_its_folder_and_its_file(make, tmp_path: Path) -> None:
    make(tmp_path)
    of_folder = diagnosed(tmp_path)
    assert of_folder.format == FORMATS[make]
    for one in (of_folder, diagnosed(of_folder.path)):
        assert one.ledger.values("loss.mean", "train") == pytest.approx(TRAIN, rel=1e-6)
        assert one.ledger.values("loss.mean", "val") == pytest.approx(VAL, rel=1e-6)
        assert [finding for finding in one.findings if finding.severity != "note"] == []
    assert len(READERS) == len(set(FORMATS.values()))


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
def test_a_log_that_is_cut_off_anywhere_is_read_or_not_recognised(make, tmp_path: Path) -> None:
    make(tmp_path)
    file = max((one for one in tmp_path.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    whole = file.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 25)):
        file.write_bytes(whole[:length])
        try:
            diagnose_log(tmp_path)
        except Refusal as refused:
            assert "\n" not in str(refused)  # noqa: PT017


def test_nothing_is_found_in_data_and_several_logs_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "table.csv", "size,weight,label\n1,2,yes\n3,4,no\n")
    assert diagnose_log(tmp_path) is None
    assert diagnose_log(tmp_path / "table.csv") is None
    for name in ("a", "b"):
        ultralytics(tmp_path / name)
    with pytest.raises(Refusal, match=r"holds 2: a/results\.csv, b/results\.csv"):
        diagnose_log(tmp_path)
    keras_history(tmp_path / "a")  # beside another log of the same training
    assert diagnosed(tmp_path / "a").format == "Ultralytics"
    (tmp_path / "b/results.csv").unlink()
    keras_history(tmp_path / "b")
    with pytest.raises(Refusal, match="holds several"):
        diagnose_log(tmp_path)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("epoch,g_loss,d_loss", "the loss of one model"),
        ("step,rollout/ep_rew_mean,train/loss", "reinforcement learning"),
    ],
)
def test_losses_that_need_not_fall_are_refused(header: str, sentence: str, tmp_path: Path) -> None:
    write(tmp_path / "log.csv", header + "\n" + "".join(f"{i},1,2\n" for i in range(9)))
    with pytest.raises(Refusal, match=sentence):
        diagnose_log(tmp_path / "log.csv")


def test_meaning_of_column_names() -> None:
    assert all(map(is_loss, ("loss", "val_loss", "train/box_loss", "trainLoss", "Loss/train", "eval_loss")))
    assert not any(map(is_loss, ("glossy", "accuracy", "val_acc")))
    assert all(map(is_validation, ("val_loss", "validLoss", "eval_top1", "Loss/val", "test_acc")))
    assert all(map(is_learning_rate, ("lr", "lr-Adam", "lr/pg0", "learning_rate", "train/lr")))
    assert all(map(is_metric, ("metrics/mAP50(B)", "eval_top1", "val_accuracy", "f1")))


def log(axis: str = "epoch", **curves: list[float] | Curve) -> Log:
    points = {
        name: [one if isinstance(one, Point) else Point(x, one) for x, one in enumerate(curve)]
        for name, curve in curves.items()
    }
    return Log("table", Path("log.csv"), "", axis, points)


def codes(one: Log) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in judge(recorded_curves(one)[0])]


def noise(size: float, random: random.Random) -> float:
    return math.exp(random.gauss(0, size))


R = random.Random(1)
FALLING = [0.2 + 2 * math.exp(-i / 5) for i in range(40)]
FAULTY = {
    "fit.overfitting": log(
        loss=[2 * math.exp(-i / 5) + 0.02 for i in range(30)],
        val_loss=[0.9 + 1.2 * math.exp(-i / 2) + 0.04 * max(0, i - 5) for i in range(30)],
    ),
    "fit.trained_too_long": log(
        loss=[*FALLING, *FALLING[-20:]], val_loss=[x + 0.003 * i for i, x in enumerate(FALLING)] + [0.45] * 20
    ),
    "fit.stopped_early": log(loss=[2 - 0.15 * i for i in range(8)], val_loss=[2.1 - 0.15 * i for i in range(8)]),
    "fit.not_learning": log(
        loss=[2.303 * noise(0.002, R) for _ in range(20)], val_acc=[0.1 * noise(0.05, R) for _ in range(20)]
    ),
    "numerics.nonfinite": log(loss=[1 / (i + 1) if i < 6 else math.nan for i in range(20)]),
    "optim.lr_too_high": log(loss=[1 + 0.1 * i * i for i in range(12)]),
    "optim.lr_too_low": log(loss=[2.3 - 0.01 * i for i in range(20)], lr=[1e-6] * 20),
    "optim.plateau_minimum": log(loss=[0.5 + 2 * math.exp(-i / 3) for i in range(60)], lr=[0.1] * 60),
    "optim.oscillation": log(loss=FALLING, val_loss=[(0.4 + 2 * math.exp(-i / 5)) * noise(0.4, R) for i in range(40)]),
    "loop.scheduler_misuse": log(
        loss=[1.5 + 0.8 * math.exp(-i) for i in range(30)], lr=[0.1 * 0.2**i for i in range(30)]
    ),
}


def test_every_finding_for_curves_has_a_case() -> None:
    assert {code for code, spec in FINDINGS.items() if spec.from_curves} == set(FAULTY)


@pytest.mark.parametrize("code", FAULTY)
def test_a_faulty_curve_is_found_first_and_marked(code: str) -> None:
    ledger, _ = recorded_curves(FAULTY[code])
    first, *_ = judge(ledger)
    assert first.code == code
    assert first.severity in FINDINGS[code].severities
    assert first.evidence["judged_from"] == "curves"
    assert "Judged from curves only" in first.cause
    assert "?" not in first.title + first.cause
    judged = FINDINGS[code].from_curves
    assert judged is not None
    if f"finding.{code}{'.curves' if judged.words else ''}.title" in table("zh"):  # others are shown in English
        assert judge(ledger, "zh")[0].title != first.title


def healthy(seed: int) -> dict[str, Log]:
    """Sound trainings of several kinds, with noise."""
    r = random.Random(seed)
    epochs = r.randint(8, 100)
    cosine = [0.005 * (1 + math.cos(math.pi * i / epochs)) for i in range(epochs)]
    steps = r.randint(30, 200)
    return {
        "classifier": log(
            train_loss=[(2.3 * math.exp(-4 * i / epochs) + 0.15) * noise(0.02, r) for i in range(epochs)],
            val_loss=[(2 * math.exp(-4 * i / epochs) + 0.25) * noise(0.05, r) for i in range(epochs)],
            lr=cosine,
        ),
        "step decay": log(
            train_loss=[(1.0 + 0.4 * (i < 20) + 0.4 * (i < 40) + math.exp(-i / 3)) * noise(0.01, r) for i in range(60)],
            eval_loss=[(1.1 + 0.4 * (i < 20) + 0.4 * (i < 40) + math.exp(-i / 3)) * noise(0.03, r) for i in range(60)],
            lr=[0.1 * 0.1 ** (i // 20) for i in range(60)],
        ),
        "fine-tuning": log(
            "step",
            loss=[Point(10 * i, (0.25 + 0.5 * math.exp(-3 * i / steps)) * noise(0.25, r)) for i in range(1, steps)],
            eval_loss=[Point(10 * steps * k / 3, 0.3 + 0.3 * math.exp(-k)) for k in (1, 2, 3)],
            learning_rate=[Point(10 * i, 5e-5 * (1 - i / steps)) for i in range(1, steps)],
        ),
        "mixup": log(
            train_loss=[(3 + 3.9 * math.exp(-i / 8)) * noise(0.01, r) for i in range(60)],
            eval_loss=[(0.9 + 6 * math.exp(-i / 5)) * noise(0.01, r) for i in range(60)],
        ),
        "batches of one": log("step", train_loss=[(0.3 + 2 * math.exp(-i / 300)) * noise(0.6, r) for i in range(2000)]),
    }


@pytest.mark.parametrize("seed", range(5))
def test_sound_curves_have_no_error_or_warning(seed: int) -> None:
    found = {name: [one for one in codes(curves) if one[1] != "note"] for name, curves in healthy(seed).items()}
    assert not any(found.values()), found


def test_overfitting_by_loss_is_a_note_while_accuracy_improves() -> None:
    curves = FAULTY["fit.overfitting"].curves
    better = log(**curves, val_acc=[0.5 + 0.01 * i for i in range(30)])
    assert ("fit.overfitting", "warning") in codes(log(**curves))
    assert ("fit.overfitting", "note") in codes(better)


def test_missing_values_are_no_nan_and_what_is_absent_is_not_judged(tmp_path: Path) -> None:
    rows = [f"{i},{t},{v if i % 5 == 4 else 'nan'}" for i, (t, v) in enumerate(zip(FALLING[:13], FALLING))]
    found = diagnosed(write(tmp_path / "log.csv", "\n".join(["epoch,loss,val_loss", *rows])))
    assert "numerics.nonfinite" not in [one.code for one in found.findings]
    assert found.ledger.values("curves.validation") == [5, 10]
    reasons = {one.code: str(one.why) for one in found.checked.not_judged}
    assert reasons["loop.scheduler_misuse"] == "the log has no learning rate"
    assert reasons["model.bad_init"].startswith("curves alone do not show it")
    assert found.checked.n + len(found.checked.not_judged) == len(FINDINGS)


def test_page_has_curves_and_the_marks(tmp_path: Path) -> None:
    rows = [f"{i},{t},{t + 0.03 * i}" for i, t in enumerate(FALLING)]
    found = diagnosed(write(tmp_path / "log.csv", "\n".join(["epoch,loss,val_loss", *rows])))
    page = found.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Judged from these curves only" in page
    assert "Overfitting" in page
    assert "<svg" in page
