"""Generated names in every output: whatever a class, a file, a layer or a cell is called, it stays text.

The names are drawn by hypothesis from a fixed seed, a few in every run and many with the slow tests: control characters,
marks of direction, halves of characters, markup of rich and HTML, formulas, long and empty names.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import nn

import danlu
from danlu.cli import _json_line
from danlu.config import dump_yaml, from_dict
from danlu.config.yaml_text import parse_yaml, to_yaml
from danlu.console.errors import print_error
from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.findings_page import TrainingSection, write_sections
from danlu.engine.checkpoint import read_weights
from danlu.inference.prediction import Prediction
from danlu.inference.prediction_csv import write_csv
from danlu.message import printable, printable_line, unicode_text
from danlu.printing.console import TextConsole
from danlu.printing.lines import print_line
from danlu.printing.tables import plain_table
from danlu.refuse import refusal
from danlu.report.markup import escape, name_cell, table
from danlu.report.run_report import write_page
from danlu.run.folder import Run
from tests.browser import Browser
from tests.hostile import HOSTILE, unsafe
from tests.report.conftest import digits_run

FEW, MANY = 60, 2000  # examples of each property
FEW_RUNS, MANY_RUNS = 2, 20  # trainings
SCRIPTS = 3  # of a report: the chart library, the figures, and the behaviour of the page
AMOUNTS = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]
RUNS = [FEW_RUNS, pytest.param(MANY_RUNS, marks=pytest.mark.slow)]

CHARACTERS = st.characters(max_codepoint=0x10FFFF)  # surrogates included
COMMANDS = st.sampled_from("\x00\x07\x08\t\n\r\x1b\x7f\x85\x9b\u200b\u200e\u202a\u202e\u2028\u2066\ud800\udce9\ufeff")
MARKUP = st.sampled_from("[]/<>&\"'`\\{}%$=+-@;:,#|.")
NAMES = st.lists(st.one_of(CHARACTERS, COMMANDS, MARKUP, st.sampled_from(HOSTILE)), max_size=12).map("".join)
CLASSES = st.lists(NAMES.filter(str.strip), min_size=4, max_size=6, unique_by=lambda name: printable(name).strip())


def holds(prop: Callable[..., None], names: st.SearchStrategy[Any], examples: int) -> None:
    """Check a property of `examples` generated names, the same in every run."""
    fixed = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    fixed(given(names)(prop))()


class Elements(HTMLParser):
    """Elements of a page by name, their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] += 1
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        if not self.cdata_elem:  # the code of a script or a style sheet
            self.text += data


def check_page(page: str, scripts: int) -> None:
    """Check that a page has the scripts and elements of danlu alone, and no attribute that runs code."""
    found = Elements(page)
    assert found.names["script"] == scripts
    assert not {"iframe", "object", "embed", "base", "form"} & set(found.names)
    assert not [name for name in found.attributes if name.startswith("on")]
    assert not unsafe(found.text, kept="\n\t")


@pytest.mark.parametrize("examples", AMOUNTS)
def test_lines_and_tables(examples: int) -> None:
    def prop(name: str) -> None:
        line = printable_line(name)
        assert not unsafe(line, kept="")
        assert printable(line) == line
        out = io.StringIO()
        console = TextConsole(file=out, width=30)
        print_line(console, name)
        console.print(f"path {name}")
        shown = plain_table(("name", "other"))
        shown.add_row(name, name)
        console.print(shown)
        assert not unsafe(out.getvalue())
        assert out.getvalue().encode("utf-8")

    holds(prop, NAMES, examples)


@pytest.mark.parametrize("examples", AMOUNTS)
def test_html(examples: int) -> None:
    def prop(name: str) -> None:
        assert not Elements(escape(name)).names
        cells = Elements(table(["name"], [[name_cell(name)]]))
        assert set(cells.names) <= {"table", "thead", "tbody", "tr", "th", "td", "div", "span"}
        assert not [one for one in cells.attributes if one.startswith("on")]
        assert not unsafe(cells.text, kept="\n\t")

    holds(prop, NAMES, examples)


@pytest.mark.parametrize("examples", AMOUNTS)
def test_errors(examples: int, capsys: pytest.CaptureFixture[str]) -> None:
    def prop(name: str) -> None:
        error = refusal(name, name, name, near=[name, "x"], do=name)
        assert print_error(error, error) == 2
        said = capsys.readouterr().err
        assert not unsafe(said)
        assert said.count("\n") == 1

    holds(prop, NAMES, examples)


@pytest.mark.parametrize("examples", AMOUNTS)
def test_csv(examples: int, tmp_path: Path) -> None:
    def prop(name: str) -> None:
        one = Prediction(path=name, label=name, confidence=0.5, probabilities={name: 0.5, "other": 0.5})
        file = write_csv([one, one], tmp_path / "predictions.csv")
        with file.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
        assert [len(row) for row in rows] == [5, 5, 5]
        assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r\n")]

    holds(prop, NAMES, examples)


@pytest.mark.parametrize("examples", AMOUNTS)
def test_json_and_yaml(examples: int) -> None:
    def prop(name: str) -> None:
        assert parse_yaml(to_yaml({unicode_text(name): [unicode_text(name)]})) == {
            unicode_text(name): [unicode_text(name)]
        }
        for encoding in ("ascii", "utf-8"):
            line = _json_line({"name": printable(name)}, encoding)
            assert not unsafe(line, kept="")
            assert line.encode(encoding)
            assert json.loads(line) == {"name": printable(name)}
        path = name.replace("\0", "")
        text = dump_yaml(from_dict({"data": {"path": unicode_text(path)}}))
        assert text.encode("utf-8")
        assert yaml.safe_load(text)["data"]["path"] == unicode_text(path)

    holds(prop, NAMES, examples)


@pytest.mark.parametrize("examples", AMOUNTS)
def test_pages_of_the_doctor(examples: int, tmp_path: Path) -> None:
    def prop(name: str) -> None:
        ledger = Ledger()
        for step in range(1, 5):
            ledger.add("layer.gradient", 0.5**step, name, step)
            ledger.add("loss.step", 1.0, "", step)
        finding = Finding("gradient.vanishing", "warning", 0.5, name, {"layer": name, "layers": [name]})
        page = write_sections(tmp_path / "doctor.html", [TrainingSection(ledger, [finding], title=name)])
        check_page(page.read_text(encoding="utf-8"), scripts=0)

    holds(prop, NAMES, examples)


@pytest.mark.parametrize("examples", RUNS)
def test_layers_of_a_watched_network(examples: int, capsys: pytest.CaptureFixture[str]) -> None:
    def prop(name: str) -> None:
        name = name.replace(".", "") or "layer"
        model = nn.Sequential()
        for k in range(2):
            model.add_module(f"{name}{k}", nn.Linear(6, 6))
        with danlu.watch(model, torch.optim.SGD(model.parameters(), 0.1)) as doctor:
            for _ in range(12):  # no zero_grad
                nn.functional.mse_loss(model(torch.randn(8, 6)), torch.zeros(8, 6)).backward()
        said = capsys.readouterr()
        assert [one.code for one in doctor.findings]
        assert not unsafe(said.out + said.err + str(doctor), kept="\n\t")
        assert not unsafe(Elements(doctor._repr_html_()).text, kept="\n\t")

    holds(prop, NAMES, examples)


@pytest.mark.parametrize("examples", RUNS)
def test_classes_of_a_run(examples: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = iter(range(10**6))

    def prop(classes: list[str]) -> None:
        labels = [classes[i % len(classes)] for i in range(12 * len(classes))]
        inputs = np.random.default_rng(0).random((len(labels), 6)).astype("float32")
        folder = tmp_path / f"run{next(count)}"
        run = danlu.train((inputs, labels), model="linear", epochs=1, out=folder, device="cpu")
        said = capsys.readouterr()
        assert not unsafe(said.out + said.err, kept="\n\t")
        kept = read_weights(Run.open(folder).weights("last"))[0].classes
        assert len(kept) == len(classes)
        assert run.classes == tuple(kept)
        for file in [*folder.glob("*.json"), *folder.glob("*.jsonl"), *folder.glob("*.yaml"), *folder.glob("*.txt")]:
            assert file.read_bytes().decode("utf-8")
        check_page((folder / "report.html").read_text(encoding="utf-8"), scripts=SCRIPTS)

    holds(prop, CLASSES, examples)


@pytest.mark.parametrize("examples", RUNS)
def test_reports_in_a_browser(examples: int, tmp_path: Path, browser: Browser) -> None:
    count = iter(range(10**6))

    def prop(names: list[str]) -> None:
        page = write_page(digits_run(tmp_path / f"run{next(count)}", names=[unicode_text(name) for name in names]))
        browser.show(page, seconds=120)
        assert browser.run("document.title") == f"{page.parent.name} · danlu"
        assert browser.run("document.scripts.length") == SCRIPTS
        assert browser.run("[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes]).filter((a) => "
                           "a.name.startsWith('on')).length") == 0  # fmt: skip
        assert not browser.messages  # nothing that the content security policy had to stop

    holds(prop, st.lists(NAMES.filter(str.strip), min_size=10, max_size=10, unique=True), examples)
