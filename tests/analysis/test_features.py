"""Samples by the features of a layer: what is computed, what the report shows of it, and wrong input."""

from __future__ import annotations

import json
import re
import time

import numpy as np
import pytest
import torch

import danlu
from danlu.cli import main
from danlu.inspection.projection import nearest
from tests.browser import Browser


def test_the_report_gets_maps_and_neighbours_of_the_last_features(digits_run, capsys):
    assert main(["report", str(digits_run.folder), "--features", "--part", "test", "--samples", "120", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["features"]
    assert (found["layer"], found["part"], found["samples"]) == ("head", "test", 120)
    assert found["same_class"] > 0.8, "features separate the classes, chance is 0.1"
    kept = json.loads((digits_run.folder / "features.json").read_text(encoding="utf-8"))
    page = (digits_run.folder / "report.html").read_text(encoding="utf-8")
    drawn = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S)[1])
    points = [i for trace in drawn["features-tsne"]["data"] for i in trace["customdata"]]
    assert sorted(points) == list(range(120))
    wrong = sum(trace["marker"]["symbol"].count("x") for trace in drawn["features-pca"]["data"])
    assert wrong == sum(a != b for a, b in zip(kept["labels"], kept["predicted"]))
    assert all(uri.startswith("data:image/png") for uri in drawn["features-samples"]["samples"]["images"])
    assert main(["report", str(digits_run.folder)]) == 0
    assert 'id="features"' in (digits_run.folder / "report.html").read_text(encoding="utf-8"), "it stays in the report"


def test_neighbours_are_those_of_the_named_layer(digits_run):
    danlu.features(digits_run, layer="hidden.0", part="test", samples=50)
    kept = json.loads((digits_run.folder / "features.json").read_text(encoding="utf-8"))
    names = kept["names"]
    network, images = digits_run.model, []
    from sklearn.datasets import load_digits

    every = load_digits().images
    images = torch.tensor(np.stack([every[int(name.split()[-1])] for name in names]), dtype=torch.float32)[:, None]
    signature = digits_run.signature
    mean, std = (torch.tensor(one).view(-1, 1, 1) for one in (signature.mean, signature.std))
    scaled = ((images / 16 * 255).round() / 255 - mean) / std
    with torch.no_grad():
        features = network.hidden[0](scaled.flatten(1)).numpy()
    assert np.mean(np.array(kept["neighbours"]) == nearest(features, 8)) > 0.95


def test_table_rows_and_regressions_have_features_too(houses_run):
    found = danlu.features(houses_run, samples=40)
    kept = json.loads((houses_run.folder / "features.json").read_text(encoding="utf-8"))
    assert found.same_class is None
    assert not kept["images"]
    assert 60 < np.mean(kept["values"]) < 800, "prices in their unit"


def test_detectors_show_the_last_map_of_their_backbone(drawn_run):
    found = danlu.features(drawn_run, part="train", samples=20)
    assert found.layer.startswith("backbone.")
    assert len(json.loads((drawn_run.folder / "features.json").read_text(encoding="utf-8"))["images"]) == 20


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--features", "--layer", "stage9"], "--layer must be a layer of the network"),
        (["--features", "--samples", "9"], "--samples must be an integer from 10 to 3000, got '9'"),
        (["--features", "--part", "all"], "--part must be train, val or test"),
        (["--layer", "head"], "--layer must be omitted without --features"),
    ],
)
def test_wrong_input_is_refused(digits_run, capsys, words, says):
    capsys.readouterr()
    assert main(["report", str(digits_run.folder), *words]) == 2
    assert says in capsys.readouterr().err


def test_images_come_with_the_pointer_and_neighbours_with_a_choice(digits_run, tmp_path):
    danlu.features(digits_run, part="test", samples=60)
    with Browser(tmp_path, width=390) as browser:
        browser.open((digits_run.folder / "report.html").resolve().as_uri())
        browser.wait('document.querySelector("[data-figure=features-tsne]")?.dataset.followed')
        assert browser.run('document.querySelectorAll("#neighbours img").length') == 9
        browser.run("document.querySelector('[data-panel=features-pca]').click()")
        browser.wait('document.querySelector("[data-figure=features-pca]").dataset.followed')
        browser.run('document.querySelector("[data-figure=features-pca]").scrollIntoView({behavior: "instant"})')
        time.sleep(0.5)  # a scroll hides the image
        point = browser.run("""(() => {
            const box = document.querySelector("[data-figure=features-pca]");
            const at = box.querySelector(".point").getBoundingClientRect();
            return [at.x + at.width / 2, at.y + at.height / 2];
        })()""")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            browser.call("Input.dispatchMouseEvent", type=kind, x=point[0], y=point[1], **button)
        browser.wait('document.querySelector(".tip:not(.hidden) img") !== null')
        chosen = browser.wait('document.getElementById("neighbours").dataset.sample')
        shown = browser.run('document.querySelector("#neighbours .file").textContent')
        assert shown == browser.run(f"shownSamples.names[{chosen}]")
        assert not browser.messages
        assert not browser.beyond()
