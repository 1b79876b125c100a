"""The report of a detector, read back from its HTML and figures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from danlu.report import object_charts
from danlu.report.object_sections import examples_section, objects_section, sizes_section
from danlu.report.run_report import write_page

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def evaluation(run_of: Callable[[str], Path]) -> dict[str, Any]:
    return json.loads((run_of("shapes") / "summary.json").read_text())["evaluation"]


def drawings(html: str) -> list[ElementTree.Element]:
    found = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    return [ElementTree.fromstring(one.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)) for one in found]


def test_boxes_are_drawn_where_they_are_and_mistakes_are_marked(evaluation: dict[str, Any]) -> None:
    examples = evaluation["examples"]
    assert len(examples) == 12
    panels = drawings(examples_section(examples))
    assert len(panels) == 24
    for one, left, right in zip(examples, panels[::2], panels[1::2], strict=True):
        for panel, boxes, mistake in ((left, one["true"], "missed"), (right, one["found"], "false")):
            assert panel.get("viewBox") == "0 0 128 128"
            drawn = {}
            for group in panel.findall(f"{SVG}g"):
                if "word" not in group.get("class", ""):
                    rect = group.findall(f"{SVG}rect")[-1]
                    x, y, w, h = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
                    drawn[round(x), round(y), round(x + w), round(y + h)] = group.get("class")
            wanted = {tuple(round(v) for v in box["box"]): "wrong" if box[mistake] else "right" for box in boxes}
            assert drawn == wanted


def test_attention_is_drawn_below_the_pair(evaluation: dict[str, Any]) -> None:
    query = {"map": "data:image/png;base64,AA==", "area": [0, -32, 128, 160], "box": [1, 2, 3, 4], "class": "circle"}
    one = evaluation["examples"][0] | {"attention": [query, query | {"map": "javascript:1"}]}
    panels = drawings(examples_section([one]))
    assert len(panels) == 3
    image = panels[2].find(f"{SVG}image")
    assert image is not None
    assert [image.get(k) for k in ("x", "y", "width", "height")] == ["0", "-32", "128", "192"]


def test_worst_first(evaluation: dict[str, Any]) -> None:
    worst = evaluation["examples"][0]
    missed, alarms = sum(t["missed"] for t in worst["true"]), sum(f["false"] for f in worst["found"])
    assert missed + alarms > 2
    assert f"{missed} missed" in examples_section([worst]) or not missed
    assert f"{alarms} false positive" in examples_section([worst]) or not alarms


def test_labels_stay_inside_and_do_not_overlap(evaluation: dict[str, Any]) -> None:
    for panel in drawings(examples_section(evaluation["examples"][:4])):
        plates = []
        for group in panel.findall(f"{SVG}g"):
            if "word" in group.get("class", ""):
                rect = group.find(f"{SVG}rect")
                x, y, w, h = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
                assert min(x, y) >= 0
                assert max(x + w, y + h) <= 128.2
                plates.append((x, y, x + w, y + h))
        apart = [
            a[2] <= b[0] + 0.2 or b[2] <= a[0] + 0.2 or a[3] <= b[1] + 0.2 or b[3] <= a[1] + 0.2
            for i, a in enumerate(plates)
            for b in plates[:i]
        ]
        assert sum(apart) >= 0.9 * len(apart)


def test_odd_examples_do_no_harm() -> None:
    box = {"box": [5, 5, None, -3], "class": "<b>", "missed": True}
    plain = {"image": "data:image/png;base64,AA==", "size": [10, 20], "true": [box], "found": [], "name": "a"}
    page = examples_section([plain, plain | {"image": "https://elsewhere/x.png"}, plain | {"size": [0, 0]}, {}])
    assert page.count("<figure") == 1
    assert "&lt;b&gt;" in page
    assert "1 missed" in page
    assert examples_section([]) == ""


def test_precision_and_recall_of_few_and_of_many_classes(evaluation: dict[str, Any]) -> None:
    curves = evaluation["precision_recall"]
    figure = object_charts.precision_recall(curves)
    assert [line["name"] for line in figure["data"]] == ["circle", "square", "triangle", "mean"]
    assert figure["data"][1]["y"] == curves["precision"]["square"]
    mean = [sum(values) / 3 for values in zip(*curves["precision"].values())]
    assert figure["data"][3]["y"] == pytest.approx(mean, abs=1e-4)
    many = {f"c{i}": [1.0, 0.5] for i in range(30)}
    figure = object_charts.precision_recall({"recall": [0, 1], "precision": many})
    assert len({line["line"]["color"] for line in figure["data"][:-1]}) == 1
    assert not figure["layout"]["showlegend"]
    assert object_charts.precision_recall({"recall": [], "precision": {}}) is None


def test_kinds_of_mistakes_the_dearest_on_top() -> None:
    figure = object_charts.error_kinds({"missed": {"cost": 0.3, "count": 9}, "place": {"cost": 0.1, "count": 4}})
    assert figure["data"][0]["y"] == ("poor localisation", "missed")  # a bar chart draws upwards
    assert figure["data"][0]["x"] == [0.1, 0.3]
    assert object_charts.error_kinds({}) is None


def test_sizes_with_strides_or_with_coverage() -> None:
    found = {"side": 64, "edges": [8.0, 16.0, 32.0], "counts": [3, 4]}
    figure = object_charts.sizes(found | {"strides": [8.0, 16.0]})
    assert figure["data"][0]["x"] == [3.5, 4.5]
    assert [word["text"] for word in figure["layout"]["annotations"]] == ["stride 8", "stride 16"]
    figures: dict[str, Any] = {}
    page = sizes_section(found | {"coverage": [0.5, None], "covered": 0.5}, figures)
    assert "50.0\u202f%" in page
    assert figures["sizes"]["data"][1]["y"] == [0.5, None]
    assert sizes_section({}, {}) == ""


def test_page_tells_threshold_nothing_and_parts_of_the_loss(run_of: Callable[[str], Path]) -> None:
    page = write_page(run_of("shapes")).read_text(encoding="utf-8")
    summary = json.loads((run_of("shapes") / "summary.json").read_text())
    assert f"danlu predict --score {summary['evaluation']['threshold']['score']:.2f}" in page
    assert f"{100 * summary['metrics']['test']['mAP']:.2f}\u202f%" in page
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])
    assert figures["confusion"]["data"][0]["x"][-1] == "nothing"
    assert {"box", "class"} <= {line["name"] for line in figures["loss"]["data"] if "name" in line}
    assert "metric-AR1" not in figures
    assert "metric-class" not in figures


def test_a_run_without_evaluation_still_has_its_metrics() -> None:
    assert objects_section({"metrics": {"val": {"mAP": 0.5}}}, {}).count("50.00") == 1
    assert objects_section({}, {}) == ""
