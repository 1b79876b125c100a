"""A multi-label training from a csv: thresholds in the weights, predictions, evaluation, report, folds."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

import danlu
from danlu.config import DataConfig
from danlu.data.formats import open_dataset
from danlu.data.split import split_dataset
from danlu.learning.linear_probe import fit_labels
from danlu.metrics.multilabel import best_thresholds

COLOURS = ("red", "green", "blue")
SETTINGS = {
    "epochs": 3,
    "device": "cpu",
    "model.name": "small-cnn",
    "doctor.budget": 0.9,
    "precision": "fp32",
    "channels_last": False,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    (folder / "images").mkdir()
    random = np.random.default_rng(0)
    rows = ["image,labels"]
    for i in range(60):
        image, names = random.integers(0, 60, (12, 12, 3), dtype=np.uint8), []
        for channel, name in enumerate(COLOURS):
            if random.random() < 0.4:
                image[random.integers(0, 6) :, :, channel] += 150
                names.append(name)
        Image.fromarray(image).save(folder / f"images/{i}.png")
        rows.append(f"{i}.png,{';'.join(names)}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return danlu.train(str(data), out=str(tmp_path_factory.mktemp("runs") / "one"), **SETTINGS)


def _outputs(run, data, part):
    """Probabilities and targets of one split, computed from the network and the files alone."""
    dataset = open_dataset(DataConfig(path=str(data)))
    index = getattr(split_dataset(dataset, DataConfig(path=str(data)), 0), part)
    signature = run.signature
    pixels = np.stack([np.asarray(Image.open(dataset.inputs.paths[i])) for i in index.tolist()]).transpose(0, 3, 1, 2)
    shape = (1, 3, 1, 1)
    x = (torch.from_numpy(pixels) / 255 - torch.tensor(signature.mean).view(shape)) / torch.tensor(signature.std).view(
        shape
    )
    with torch.no_grad():
        return run.model(x).sigmoid(), dataset.targets[index], [dataset.inputs.paths[i] for i in index.tolist()]


def test_thresholds_are_those_of_the_validation_set_and_lie_in_the_weights(run, data):
    p, targets, _ = _outputs(run, data, "val")
    assert run.signature.thresholds == pytest.approx(best_thresholds(p, targets), abs=1e-5)
    assert danlu.load(run.folder, "last").signature.thresholds


def test_the_metrics_are_those_of_scikit_learn(run, data):
    p, targets, _ = _outputs(run, data, "test")
    predicted = p >= torch.tensor(run.signature.thresholds)
    expected = {
        "mAP": average_precision_score(targets, p, average="macro"),
        "f1": f1_score(targets, predicted, average="macro"),
        "f1_micro": f1_score(targets, predicted, average="micro"),
    }
    assert {name: run.metrics.test[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert run.evaluate().metrics.test.mAP == pytest.approx(run.metrics.test.mAP)


def test_all_labels_above_their_threshold_are_predicted(run, data):
    p, _, paths = _outputs(run, data, "test")
    for one, row in zip(run.predict(*map(str, paths)), p.tolist()):
        wanted = {name for name, value, t in zip(run.classes, row, run.signature.thresholds) if value >= t}
        assert {name for name, _ in one.labels} == wanted
        assert json.loads(json.dumps(one.to_json()))["labels"] == [[n, v] for n, v in one.labels]


def test_the_report_shows_each_label_and_no_confusion_matrix(run):
    page = run.report.read_text(encoding="utf-8")
    assert "Label by label" in page
    assert "Confusion matrix" not in page
    assert [row["name"] for row in run.summary.evaluation["per_label"]] == sorted(COLOURS)


def test_the_chance_level_is_that_of_the_label_frequencies(run, data):
    from danlu.doctor.derived.progress import chance_loss
    from danlu.doctor.ledger import Ledger

    dataset = open_dataset(DataConfig(path=str(data)))
    frequencies = dataset.targets[split_dataset(dataset, DataConfig(path=str(data)), 0).train].double().mean(0)
    entropy = -(frequencies * frequencies.log() + (1 - frequencies) * (1 - frequencies).log()).mean()
    assert chance_loss(Ledger.read(run.ledger)) == pytest.approx(entropy.item(), rel=0.15)  # of measured batches


@pytest.mark.slow
def test_a_refit_takes_the_mean_thresholds_of_its_folds(data, tmp_path):
    kept = danlu.train(str(data), out=str(tmp_path / "folds"), folds=2, **SETTINGS)
    folds = [danlu.load(tmp_path / "folds" / f"fold-{k}").signature.thresholds for k in range(2)]
    assert kept.signature.thresholds == pytest.approx(np.mean(folds, axis=0))


def test_the_probe_of_labels_is_a_logistic_regression_each():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 12, generator=generator) * 3 + 1
    y = (x[:, :3] + torch.randn(200, 3, generator=generator) * 4 > 2).float()
    y[:, 2] = 1
    weight, bias = fit_labels(x, y, 3)
    for k in range(2):
        expected = LogisticRegression(max_iter=5000, tol=1e-9).fit(x.double().numpy(), y[:, k].numpy())
        assert weight[k].numpy() == pytest.approx(expected.coef_[0], abs=1e-4)
        assert bias[k].item() == pytest.approx(expected.intercept_[0], abs=1e-3)
    assert not weight[2].any()
    assert bias[2].item() == pytest.approx(np.log(201), abs=1e-4)
