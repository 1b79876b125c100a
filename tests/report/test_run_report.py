"""The report in a real browser: no errors, no missing images or charts, usable on a phone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from danlu.refuse import Refusal
from danlu.report.run_report import write_page
from danlu.run.folder import Run
from tests.browser import Browser

KINDS = (
    "digits",
    "hundred",
    "hostile",
    "diabetes",
    "interrupted",
    "shapes",
    "hostile-shapes",
    "troubled",
    "troubled-zh",
)
CHARTS = {  # drawn at once; the metrics behind the other tabs are drawn when they are shown
    "digits": {"loss", "metric-accuracy", "rate", "speed", "confusion", "reliability"},
    "diabetes": {"loss", "metric-r2", "rate", "speed", "scatter", "residuals"},
    "shapes": (shapes := {"loss", "metric-mAP", "rate", "speed", "precision-recall", "errors", "confusion", "sizes"}),
    "hostile-shapes": shapes,
    "interrupted": {"loss", "metric-accuracy", "rate", "speed"},
}
# Pressing every switch and heading comes before the look, so that all charts are drawn and all code has run.
LOOK = """(async () => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const at = (selector) => [...document.querySelectorAll(selector)];
  const boxes = () => at("[data-figure]").filter((box) => box.querySelector(".main-svg"));
  const drawn = () => boxes().map((box) => box.dataset.figure);
  await pause(100);
  const first = drawn();
  at(".switch button, .sortable th").forEach((button) => button.click());
  await pause(200);
  return {
    first, all: drawn(), title: document.title,
    images: at("img").length,
    broken: at("img").filter((img) => !img.complete || !img.naturalWidth).map((img) => img.alt),
    width: innerWidth, wide: document.documentElement.scrollWidth,
    beyond: at("main *").filter((e) => !e.closest(".scroll, svg") && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 99)),
    settings: at(".scroll:has(.stacked)").map((e) => e.scrollWidth - e.clientWidth),
    scale: document.querySelector("[data-figure=loss]").layout.yaxis.type,
    classes: at("table.sortable")[0] && [...at("table.sortable")[0].tBodies[0].rows].map((row) => row.cells[0].title),
    text: document.querySelector("main").innerText,
  };
})()"""


def look_at(browser: Browser, page: Path, width: int) -> dict[str, Any]:
    """Open the page in a window of `width` pixels and measure it; fail on console messages."""
    browser.resize(width)
    browser.show(page)
    seen = browser.run(LOOK)
    assert not browser.messages
    return seen


# The widest pages are looked at in both widths, the others in one unless all tests run.
WIDE_ONLY = ("digits", "diabetes", "interrupted", "shapes", "hostile", "troubled")
VIEWS = [
    pytest.param(kind, width, marks=pytest.mark.slow if width == 390 and kind in WIDE_ONLY else ())
    for kind in KINDS
    for width in (1280, 390)
]


@pytest.mark.parametrize(("kind", "width"), VIEWS)
def test_page_in_a_browser(kind: str, width: int, run_of: Callable[[str], Path], browser: Browser) -> None:
    run = run_of(kind)
    seen = look_at(browser, write_page(run), width)
    assert seen["width"] == width
    assert seen["wide"] <= width, "the page scrolls sideways"
    assert seen["beyond"] == []
    assert seen["settings"] == [0, 0], "the tables of settings scroll sideways"
    assert seen["broken"] == []
    assert seen["images"] == (32 if kind in ("digits", "hundred", "hostile", "troubled", "troubled-zh") else 0)
    assert set(seen["first"]) == CHARTS.get(kind, CHARTS["digits"])
    assert len(seen["all"]) > len(seen["first"])
    assert seen["scale"] == "log"
    assert "– %" not in seen["text"]
    assert not re.search(r"\b(None|nan|NaN|undefined)\b", seen["text"])


def test_hostile_names_are_escaped(run_of: Callable[[str], Path], browser: Browser) -> None:
    page = write_page(run_of("hostile"))
    text = page.read_text(encoding="utf-8")
    assert "<script>document" not in text
    assert "<img src=x" not in text
    seen = look_at(browser, page, 1280)
    assert seen["title"] == "hostile · danlu"
    for name in (
        "<script>document.title='owned'</script>",
        "\"'><img src=x onerror=alert(1)>",
        "丹炉里的火",
        "&lt;b&gt;",
    ):
        assert name in seen["text"]


def test_tables_sort_numbers_as_numbers(run_of: Callable[[str], Path], browser: Browser) -> None:
    """The last heading pressed is the support, ascending."""
    run = run_of("digits")
    seen = look_at(browser, write_page(run), 1280)
    rows = json.loads((run / "summary.json").read_text())["evaluation"]["per_class"]
    support = {row["name"]: row["support"] for row in rows}
    assert [support[name] for name in seen["classes"]] == sorted(support.values())


def test_page_shows_the_values_of_the_run(run_of: Callable[[str], Path]) -> None:
    text = write_page(run_of("digits")).read_text(encoding="utf-8")
    summary = json.loads((run_of("digits") / "summary.json").read_text())
    for said in (
        f"{100 * summary['metrics']['test']['accuracy']:.2f}\u202f%",
        "1,000",
        "a large rate is safe",
        "zero bytes",
        "Best at epoch 9 of 12",
    ):
        assert said in text
    assert ">Findings<" not in text
    assert text.count("plotly.js v") == 1


def test_a_mean_over_epochs_is_named_where_it_chose_the_best_one(run_of: Callable[[str], Path]) -> None:
    text = write_page(run_of("shapes")).read_text(encoding="utf-8")
    said = "averaged over the last 5 epochs because there are only 40 validation samples"
    assert said in text
    assert "averaged over" not in write_page(run_of("digits")).read_text(encoding="utf-8")


def test_page_needs_nothing_from_outside(run_of: Callable[[str], Path]) -> None:
    text = write_page(run_of("digits")).read_text(encoding="utf-8")
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", own)
    assert "default-src 'none'" in own


def test_findings_and_folds_are_printed(run_of: Callable[[str], Path]) -> None:
    text = write_page(run_of("diabetes")).read_text(encoding="utf-8")
    assert "The learning rate is too small for the epochs given" in text
    assert "optim.lr 0.1" in text
    assert ">0.47<" in text  # mean R² of 0.45, 0.46, 0.47, 0.48, 0.49
    assert ">0.01581<" in text  # and its standard deviation, sqrt(0.00025)
    assert "Stopped early: early stopping at epoch 40." in text


def test_findings_are_drawn_from_the_ledger(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_of("troubled"), run)
    text = write_page(run).read_text(encoding="utf-8")
    codes = [finding["code"] for finding in json.loads((run / "findings.json").read_text())]
    assert {"optim.lr_too_high", "gradient.vanishing", "activation.dead_relu"} <= set(codes)
    assert text.count('<figure class="proof">') == len(codes)
    assert "root mean square of the gradient" in text
    assert "梯度的均方根" in write_page(run_of("troubled-zh")).read_text(encoding="utf-8")
    Run(run).ledger.write_text('{"name": "loss.step", "where"', encoding="utf-8")  # cut short: words without charts
    text = write_page(run).read_text(encoding="utf-8")
    assert '<figure class="proof">' not in text
    assert text.count('<article class="finding') == len(codes)


def test_interrupted_run_says_so_and_shows_its_last_epoch(run_of: Callable[[str], Path]) -> None:
    text = write_page(run_of("interrupted")).read_text(encoding="utf-8")
    assert "This run was not finished. All numbers are from the last finished epoch, 3." in text
    assert 'id="curves"' in text


def test_a_folder_with_only_a_config_has_a_page(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copy(run_of("digits") / "config.yaml", tmp_path)
    text = write_page(tmp_path).read_text(encoding="utf-8")
    assert 'id="configuration"' in text
    assert 'id="curves"' not in text


def test_second_evaluation_on_the_test_set_is_reported(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_of("digits"), run)
    summary = json.loads((run / "summary.json").read_text())
    assert "test set was evaluated" not in write_page(run).read_text()
    (run / "summary.json").write_text(json.dumps(summary | {"test_looks": 3}))
    assert "The test set was evaluated 3 times" in write_page(run).read_text()


def test_the_accuracy_on_a_small_test_set_has_its_interval(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_of("digits"), run)
    summary = json.loads((run / "summary.json").read_text())
    summary["data"]["counts"] |= {"val": 45, "test": 45}
    for split, accuracy in (("val", 1.0), ("test", 35 / 45)):
        summary["metrics"][split]["accuracy"] = accuracy
    (run / "summary.json").write_text(json.dumps(summary))
    text = write_page(run).read_text(encoding="utf-8")
    assert "64\u202f% to 87\u202f% with 95\u202f% confidence, on 45 samples" in text  # Wilson's: 0.637, 0.875
    assert "Validation accuracy 100.0\u202f% is higher than chance explains" in text
    summary["data"]["counts"] |= {"val": 5000, "test": 5000}
    (run / "summary.json").write_text(json.dumps(summary))
    assert "confidence, on" not in write_page(run).read_text(encoding="utf-8")


def test_a_healing_that_tried_nothing_claims_no_comparison(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_of("digits"), run)
    (run / "heal.json").write_text(json.dumps({"metric": "accuracy", "attempts": [], "not_tried": []}))
    text = write_page(run).read_text(encoding="utf-8")
    assert "No change was tried." in text
    assert "more than the noise" not in text


def test_broken_summary_is_refused_and_the_old_page_kept(run_of: Callable[[str], Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_of("diabetes"), run)
    before = write_page(run).read_text()
    (run / "summary.json").write_text('{"run": ')
    with pytest.raises(Refusal, match=r"summary\.json"):
        write_page(run)
    assert (run / "report.html").read_text() == before
    assert not list(run.glob(".*"))
