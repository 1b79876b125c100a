"""A run shows itself: repr, HTML, history, curves, and the names that tab completion offers."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

import danlu
from danlu.config import DataConfig
from danlu.data.formats import open_dataset
from danlu.doctor.finding import Finding
from danlu.inference.loaded_run import LoadedRun
from danlu.refuse import Refusal


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    out: Path = tmp_path_factory.mktemp("runs") / "run"
    settings = {"data.limit": 200, "model": "softmax", "device": "cpu"}
    return danlu.train("digits", epochs=2, out=out, console=Console(quiet=True), **settings)


def test_repr_and_html(run: LoadedRun) -> None:
    for text in (repr(run), str(run)):
        assert text.startswith(f"LoadedRun({run.name}: classify, softmax, 2 epochs, test loss=")
    page = run._repr_html_()
    assert "accuracy" in page
    assert f"{run.metrics.test.accuracy:.4f}" in page
    assert run.metrics._repr_html_() in page


def test_history(run: LoadedRun) -> None:
    assert list(run.history.index) == [1, 2]
    rows = run.record.of("epoch")
    assert run.history["val.accuracy"].tolist() == [row["val.accuracy"] for row in rows]


def test_plot(run: LoadedRun) -> None:
    figure = run.plot("accuracy")
    assert [line.name for line in figure.data] == ["train", "val"]
    assert list(figure.data[1].y) == run.history["val.accuracy"].tolist()
    assert len(run.plot().data) == 4
    with pytest.raises(Refusal, match="did you mean 'accuracy'"):
        run.plot("acuracy")


def test_names_offered(run: LoadedRun) -> None:
    assert {"classes", "history", "metrics", "plot", "predict", "evaluate", "findings", "model"} <= set(dir(run))
    assert all(hasattr(run, name) for name in dir(run))
    assert {"train", "watch", "LightningDoctor", "Callback"} <= set(dir(danlu))
    assert not {"importlib", "Any", "annotations", "TYPE_CHECKING", "refuse"} & set(dir(danlu))


def test_findings_are_of_one_type(run: LoadedRun) -> None:
    kept = [*run.findings, *danlu.diagnose(run).findings, *run.evaluate(part="val").findings]
    assert all(isinstance(one, Finding) for one in kept)


def test_probabilities_of_all_classes(run: LoadedRun) -> None:
    (prediction,) = run.predict(open_dataset(DataConfig(path="digits")).inputs[0, 0].numpy())
    assert prediction.probabilities is not None
    assert list(prediction.probabilities) == list(run.classes)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-4)
    assert "probabilities" not in prediction.to_json()
    assert prediction.label in prediction._repr_html_()


def test_dataset() -> None:
    dataset = open_dataset(DataConfig(path="digits"))
    assert repr(dataset) == "Dataset(digits: scikit-learn, classify, 1,797 samples, 10 classes, images)"
    assert "1,797" in dataset._repr_html_()
