"""`danlu.train` with objects of the user from start to end: refusals before the training, resume, load, evaluate."""

from __future__ import annotations

import filecmp
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import v2

import danlu
from danlu.cli import main
from danlu.refuse import Refusal

torch.manual_seed(0)
X = torch.randn(96, 1, 8, 8)
Y = (X.mean((1, 2, 3)) > 0).long()


def net(outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, outputs))


class Noisy(Dataset):
    """A dataset with a random transform of its own."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return X[index] + torch.randn(1), int(Y[index])


class Pictures(Noisy):
    def __getitem__(self, index: int) -> tuple[Any, int]:
        return Image.fromarray((X[index, 0].sigmoid() * 255).byte().numpy()), int(Y[index])


def error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) != targets).float().mean()


class Kill:
    """Ends the training in the middle of an epoch, as a signal would."""

    def on_batch_end(self, state: danlu.TrainingState) -> None:
        if state.step == 4:
            raise KeyboardInterrupt


CROP = v2.Compose([v2.RandomCrop(8, padding=1), v2.ToDtype(torch.float32, scale=True)])


@pytest.mark.parametrize(
    ("data", "more"),
    [
        (Noisy(), {}),
        (Pictures(), {"transform": CROP}),
        ((X, Y), {"optim": {"ema": 0.9}, "precision": "bf16"}),
    ],
    ids=["random dataset", "random transform", "averaged weights"],
)
def test_a_killed_run_resumes_bit_for_bit(train: Any, tmp_path: Path, data: Any, more: dict[str, Any]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), net()[1], nn.ReLU(), net()[3])
    own = {
        "model": model,
        "loss": nn.CrossEntropyLoss(label_smoothing=0.1),
        "optimizer": partial(torch.optim.Adam, betas=(0.8, 0.9)),
        "scheduler": lr_scheduler.OneCycleLR,
        "metrics": {"error": error},
    } | more
    whole = train(data, **own, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        train(data, **own, epochs=3, callbacks=Kill(), out=tmp_path / "killed")
    with pytest.raises(Refusal, match="are objects of your own, which a run cannot save: give them again, as DATA"):
        danlu.train(resume=tmp_path / "killed")
    with pytest.raises(Refusal, match="give it again"):
        danlu.train(data, resume=tmp_path / "killed")
    objects = {
        name: own[name] for name in ("model", "loss", "optimizer", "scheduler", "metrics", "transform") if name in own
    }
    resumed = train(data, resume=tmp_path / "killed", out=None, epochs=3, **objects)
    for which in ("best", "last"):
        assert filecmp.cmp(whole.weights(which), resumed.weights(which), shallow=False)
    assert resumed.metrics.to_json() == whole.metrics.to_json()


def test_load_asks_for_the_network_and_imports_nothing(train: Any, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from pathlib import Path\nfrom torch import nn\n"
        "Path(__file__).with_suffix('.log').open('a').write('x')\n"
        "def build(classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    run = train((X, Y), model=f"{file}:build")
    assert file.with_suffix(".log").read_text() == "x"
    with pytest.raises(Refusal, match=r"objects of your own, .*give model=\.\.\.$"):
        danlu.load(run.folder)
    with pytest.raises(Refusal, match="objects of your own"):
        danlu.predict(run.folder, X[0])
    assert file.with_suffix(".log").read_text() == "x"
    again = danlu.load(run.folder, model=lambda classes: nn.Sequential(nn.Flatten(), nn.Linear(64, classes)))
    assert again.predict(X[:5]) == run.predict(X[:5])
    with pytest.raises(Refusal, match="another network"):
        _ = danlu.load(run.folder, model=net()).model


def test_nothing_is_asked_for_that_is_not_used(train: Any) -> None:
    """A finished run is not trained again, and a run with a transform is not exported."""
    run = train(Pictures(), model=net(), transform=CROP)
    again = danlu.train(resume=run.folder)
    assert again.metrics.to_json() == run.metrics.to_json()
    with pytest.raises(Refusal, match=r"give model=\.\.\., transform=\.\.\.$"):
        danlu.load(run.folder)
    with pytest.raises(Refusal, match=r"which a file cannot hold|must be a network of images"):
        danlu.export(run.folder)


def test_evaluate_and_predict(train: Any) -> None:
    run = train(((X[:60], Y[:60]), (X[60:], Y[60:])), model=net(), loss=F.cross_entropy)
    outputs = run.model(X[60:])
    for data in ((X[60:], Y[60:]), TensorDataset(X[60:], Y[60:]), DataLoader(TensorDataset(X[60:], Y[60:]))):
        result = run.evaluate(data)
        assert result.metrics.test.accuracy == pytest.approx((outputs.argmax(1) == Y[60:]).float().mean().item())
        assert result.metrics.test.loss == pytest.approx(F.cross_entropy(outputs, Y[60:]).item(), rel=1e-5)
    assert run.metrics.val.loss == pytest.approx(F.cross_entropy(outputs, Y[60:]).item(), rel=1e-5)
    scaled = outputs[0] / run.summary["calibration"]["temperature"]
    predicted = run.predict(X[60])[0]
    assert predicted.probabilities == pytest.approx(dict(zip("01", scaled.softmax(0).tolist())), abs=1e-5)
    with pytest.raises(Refusal, match=r"of shape \(1, 8, 8\)"):
        run.predict(X[:2, :, :4])


@pytest.mark.parametrize(
    ("outputs", "loss"), [(1, nn.BCEWithLogitsLoss()), (2, nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0])))]
)
def test_binary_losses(train: Any, outputs: int, loss: nn.Module) -> None:
    run = train((X, Y), model=net(outputs), loss=loss)
    assert run.task == "classify"
    assert run.metrics.test.accuracy is not None


def test_several_labels(train: Any) -> None:
    labels = torch.stack([Y, 1 - Y, (X[:, 0, 0, 0] > 0.5).long()], 1)
    run = train((X, labels), model=net(3), loss=nn.BCEWithLogitsLoss())
    assert run.task == "multilabel"
    assert run.metrics.test["f1_micro"] is not None
    assert len(run.predict(X[:2])[0].probabilities) == 3


def test_numbers_reach_the_users_loss_as_they_are(train: Any) -> None:
    values = 1000 * X.mean((1, 2, 3))
    seen: list[float] = []

    def squared(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(targets.abs().max().item())
        assert outputs.shape == targets.shape
        return F.mse_loss(outputs, targets)

    model = nn.Sequential(net(1), nn.Flatten(0))  # outputs of shape (N,)
    run = train((X, values), model=model, loss=squared)
    assert run.task == "regress"
    assert max(seen) == pytest.approx(values.abs().max().item())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"model": net(), "loss": lambda outputs, targets: -outputs.log_softmax(1)},
            r"must be a function that returns the mean, or one value per sample, got a tensor of shape \(4, 2\); end it",
        ),
        (
            {"model": net(5)},
            "gives 5 outputs per sample, but the data have 2 classes; its last layer '3' should have 2",
        ),
        ({"model": net(1)}, "its last layer '3' should have 2, or the loss be nn.BCEWithLogitsLoss"),
        ({"model": nn.Linear(3, 2)}, r"model Linear fails on a batch of shape \(4, 1, 8, 8\), float32: RuntimeError"),
        ({"model": lambda classes: 1 / 0}, r"model lambda\(classes=2\) fails: ZeroDivisionError"),
        ({"model": lambda: "net"}, "a function that returns an nn.Module, got 'str'"),
        ({"model": net(), "loss": lambda o, t: 0.5}, "a function that returns a tensor, got 'float'"),
        ({"model": net(), "loss": lambda o, t: F.cross_entropy(o.detach(), t)}, "has no gradient"),
        ({"model": net(), "loss": F.cross_entropy, "loss.smoothing": 0.1}, "left out with a loss of your own"),
        ({"model": net(), "transform": lambda x: x.nope()}, "transform lambda fails on a sample of shape"),
        ({"model": net(), "val": "x"}, "^val must be"),
        ({"augment": "strong"}, "augment.preset must be omitted"),
        ({"learning_rate": 0.1}, "did you mean 'lr'"),
        ({"metric": 0.1}, "did you mean 'metrics'"),
        ({"model": lambda classes: net(1 * classes), "devices": 2}, "cannot be sent to the processes"),
    ],
)
def test_refused_before_the_training(train: Any, settings: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=sentence):
        train((X, Y), **settings)
    assert list(tmp_path.iterdir()) == []  # no run is left


def test_several_arguments_without_a_name() -> None:
    with pytest.raises(Refusal, match=r"did you mean danlu.train\(\(inputs, targets\), ...\)"):
        danlu.train(X, Y, model=net())
    with pytest.raises(Refusal, match="val="):
        danlu.train(Noisy(), Noisy(), model=net())


def test_the_doctor_before_training(train: Any) -> None:
    found = danlu.diagnose((X, Y), model=net(), loss=F.cross_entropy)
    assert found.target == "arrays"
    run = train((X, Y), model=net(), loss=F.cross_entropy)
    assert danlu.diagnose(run).target == run.name
    with pytest.raises(Refusal, match="fails on a batch"):
        danlu.diagnose((X, Y), model=nn.Linear(3, 2))


def test_files_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own_parts.py"
    file.write_text(
        "import torch.nn.functional as F\nfrom torch import nn\n"
        "def build(classes, channels, size):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes))\n"
        "def loss(outputs, targets):\n    return F.cross_entropy(outputs, targets)\n"
        "def half(x):\n    return x.float() / 255\n"
    )
    out = str(tmp_path / "run")
    own = ["--model", f"{file}:build", "--loss", f"{file}:loss", "--transform", f"{file}:half"]
    code = main(["train", "digits", *own, "--epochs", "1", "--out", out, "--device", "cpu", "--json"])
    assert code == 0
    assert json.loads(capsys.readouterr().out)["model"] == "build"
    assert main(["evaluate", out]) == 2
    assert "give --model FILE.py:build --transform FILE.py:half" in capsys.readouterr().err
    assert main(["evaluate", out, *own[:2], *own[4:]]) == 2
    assert "give --loss FILE.py:loss" in capsys.readouterr().err
    assert main(["evaluate", out, *own, "--json"]) == 0
    assert main(["train", "digits", "--model", f"{file}:bild"]) == 2
    assert "did you mean 'build'" in capsys.readouterr().err
    config = tmp_path / "config.yaml"
    config.write_text(f"model: {file}:build\n")
    assert main(["train", "digits", "--config", str(config)]) == 2  # a config never runs a file


OWN_FILE = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


class Lazy(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Flatten(), nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, classes))


def digits():
    torch.manual_seed(0)
    inputs = torch.randn(96, 1, 8, 8)
    return TensorDataset(inputs, (inputs.mean((1, 2, 3)) > 0).long())


def error(outputs, targets):
    return (outputs.argmax(1) != targets).float().mean()


def same(x):
    return x
"""


def test_data_and_metrics_of_files_for_every_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own_verbs.py"
    file.write_text(OWN_FILE)
    out, data = str(tmp_path / "run"), f"{file}:digits"
    given = ["--model", f"{file}:Lazy", "--metrics", f"{file}:error", "--transform", f"{file}:same"]
    assert main(["train", data, *given, "--epochs", "1", "--out", out, "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["evaluate", out, *given]) == 2
    assert "give them again, as DATA (on the command line FILE.py:NAME)" in capsys.readouterr().err
    assert main(["evaluate", out, data, *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["test"]["error"] >= 0
    network = [given[i] for i in (0, 1, 4, 5)]
    assert main(["share", out, *network, "--out", str(tmp_path / "run.zip")]) == 0
    again = str(shutil.copytree(out, tmp_path / "again"))
    assert main(["compare", out, again, *network, "--out", str(tmp_path / "both.html")]) == 0
    assert main(["inspect", f"{file}:Lazy", "--input", "1x8x8", "--classes", "2", "--json"]) == 0
    inspected = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert inspected["parameters"] == 64 * 8 + 8 + 8 * 2 + 2
    assert main(["inspect", f"{file}:Lazy"]) == 2
    assert "--input must be given for a network of your own, as 3x64x64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("own_names.py", "own_names.py:build"), ("own_names:build", "own_names.py:build"),
     ("own_names.bild", "own_names.py:build")],
)  # fmt: skip
@pytest.mark.parametrize("flag", ["--model", "--loss", "--metrics", "--callbacks", "--optimizer"])
def test_a_file_without_a_name_is_answered_with_its_names(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    offered: str,
    flag: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_names.py").write_text("raise SystemExit('this must not run')\ndef build():\n    pass\n")
    assert main(["train", "digits", flag, typed]) == 2
    said = capsys.readouterr().err
    assert f"{flag} must be FILE.py:NAME, an object of the file, got '{typed}'" in said
    assert offered in said


def test_quiet_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings: dict[str, Any] = {"model": net(), "epochs": 1, "device": "cpu", "out": tmp_path / "run"}
    danlu.train((X, Y), quiet=True, **settings)
    assert capfd.readouterr() == ("", "")
