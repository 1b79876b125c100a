"""Words: shares as per cent, every sentence of a rule in Chinese as well, places that people can find."""

from __future__ import annotations

import ast
import copy
import json
import math
import re
from pathlib import Path

import pytest

from danlu.doctor import rules
from danlu.doctor.finding import SEVERITIES, Finding, in_one_line
from danlu.doctor.ledger import Ledger
from danlu.doctor.messages import MESSAGES, place, retold, said, worded
from danlu.doctor.phrase import Phrase, Shown, shown
from danlu.doctor.rules.numerics import PLACES, nonfinite
from danlu.doctor.rules.outputs import MENDED
from danlu.doctor.wording.before import WORDS
from danlu.doctor.wording.phrases import ZH
from danlu.doctor.wording.terms import TERMS, terms

CHINESE = re.compile("[一-鿿]")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "100 %"), (0.934567, "93.5 %"), (0.0, "0 %"), (0.00123, "0.123 %"), ("?", "?"), (1, "100 %")],
)
def test_shares_are_told_as_per_cent(value: object, text: str) -> None:
    assert f"{Shown(value):%}" == text


def test_numbers_are_short() -> None:
    assert [shown(v) for v in (3.0, 0.123456, 12345.678, True, [0.5, 2.0])] == [3, 0.123, 12300.0, True, "0.5, 2"]


def test_a_phrase_is_a_text_that_can_be_said_again() -> None:
    phrase = Phrase("The loss rose to {} times its start, at step {}", 12.345, 37)
    assert phrase == "The loss rose to 12.3 times its start, at step 37"
    assert json.loads(json.dumps({"what": phrase})) == {"what": str(phrase)}
    again = copy.deepcopy(phrase)
    assert said(again, "en") == phrase
    assert said(again, "zh") == "损失在第 37 步升到开始时的 12.3 倍"


def test_dead_units_in_per_cent_and_no_bare_one() -> None:
    facts = {"share": 1.0, "samples": 640, "layers": 1, "of": 3}
    for language in ("en", "zh"):
        cause = worded(Finding("activation.dead_relu", "error", 0.9, "2", facts), language).cause
        assert "100 %" in cause
    assert "layer 2" in worded(Finding("activation.dead_relu", "error", 0.9, "2", facts)).title
    assert "第 2 层" in worded(Finding("activation.dead_relu", "error", 0.9, "2", facts), "zh").title


def sentences() -> list[str]:
    """What the rules make Phrases of."""
    found = []
    for path in Path(rules.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Phrase":
                first = node.args[0]
                choices = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                found += [choice.value for choice in choices if isinstance(choice, ast.Constant)]
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "sentence":
                found += [node.value.value] if isinstance(node.value, ast.Constant) else []
    return [s for s in found if isinstance(s, str)] + list(MENDED.values()) + list(PLACES.values())


def test_every_sentence_of_a_rule_is_there_in_chinese() -> None:
    missing = [s for s in sentences() if s not in ZH]
    assert missing == []
    assert len(sentences()) > 40


@pytest.mark.parametrize("english", ZH)
def test_translations_take_the_same_values(english: str) -> None:
    braces = r"\{(\d*)(:[^}]*)?\}"
    count = max([*(int(n) + 1 for n, _ in re.findall(braces, english) if n), len(re.findall(braces, english))])
    assert len(re.findall(braces, ZH[english])) in (count, len(re.findall(braces, english)))
    assert CHINESE.search(ZH[english]) or english == "{} ({})"


def test_both_languages_have_the_same_terms() -> None:
    assert TERMS["en"].keys() == TERMS["zh"].keys()
    assert all(CHINESE.search(terms("zh")[word]) for word in (*SEVERITIES, "cure line", "confidence", "at"))


@pytest.mark.parametrize("table", [MESSAGES, WORDS], ids=["rules", "before"])
def test_both_languages_use_the_same_evidence(table: dict) -> None:
    fields = re.compile(r"(?<!\{)\{(\w+)(:[^}]*)?\}")
    for code, words in table.items():
        for text in (*words["en"], *words["zh"]):
            for name, spec in fields.findall(text):
                other = dict(fields.findall(" ".join(words["en"])))
                assert other.get(name, spec) == spec, f"{code}: {name} is {spec or 'plain'} in one language only"


def test_a_line_in_chinese_has_no_english_frame() -> None:
    finding = Finding("fit.one_class", "warning", 0.8, Phrase("class {}", 3), {"class": 3, "predicted": 0.5})
    line = in_one_line(worded(finding, "zh"), "zh")
    assert line.startswith("警告：fit.one_class（类别 3）：")
    assert in_one_line(worded(finding)).startswith("warning: fit.one_class (class 3): ")
    assert str(worded(finding, "zh")) == line == in_one_line(worded(finding, "zh").to_dict(), "zh")


def test_places() -> None:
    assert [place(w) for w in ("0", "head.fc", Phrase("class {}", 3))] == ["layer 0", "head.fc", "class 3"]
    roles = [Phrase("output"), Phrase("validation"), "head.fc", "0"]
    assert [place(w, "zh") for w in roles] == ["输出", "验证", "head.fc", "第 0 层"]


def test_what_somebody_named_is_not_translated() -> None:
    """A layer called output, a metric called loss: only what a rule says as a word is one."""
    assert [place(name, "zh") for name in ("output", "loss", "device")] == ["output", "loss", "device"]
    told = {"metric": "loss", "told": 0.5, "right": 0.4, "how": Phrase("the mean of the batches"), "epoch": 3}
    finding = worded(Finding("loop.metric_last_batch", "warning", 0.9, "loss", told), "zh")
    assert "loss" in finding.title + finding.cause
    assert finding.place == "loss"
    assert "各批次的平均" in finding.cause


def test_what_instruments_wrote_is_told_again() -> None:
    assert retold("curvature", "zh") == "曲率"
    assert retold("the instrument failed and was put aside: KeyError: 'x'", "zh") == "仪器出错，已停用：KeyError: 'x'"
    assert [retold("curvature", "en"), retold("a {} of its own", "zh")] == ["curvature", "a {} of its own"]


REASON = ("nonfinite.reason", "log of zero")
AT_CONV = [("nonfinite.source", "activation"), ("nonfinite.layer", "conv.1")]


@pytest.mark.parametrize(
    ("records", "title", "cause"),
    [
        ([], "The loss is nan at step 7", "It arose first in a place that was not seen."),
        (
            [("nonfinite.source", "input"), ("nonfinite.samples", [3, 5]), REASON],
            "The loss is nan at step 7: log of zero",
            "It arose first in the input; samples of the batch: 3, 5.",
        ),
        (
            [*AT_CONV, ("nonfinite.samples", [0]), ("nonfinite.input_max", 81.25), REASON],
            "The loss is nan at step 7: log of zero",
            "It arose first in the output of conv.1; samples of the batch: 0; largest input there: 81.2.",
        ),
        (
            [*AT_CONV, ("nonfinite.layer", ">4"), ("nonfinite.samples", [])],
            "The loss is nan at step 7",
            "It arose first in what flows into layer 4.",
        ),
        (
            [("nonfinite.source", "loss"), ("nonfinite.input_max", 90.0), ("nonfinite.reason", "overflow of exp")],
            "The loss is nan at step 7: overflow of exp",
            "It arose first in the loss itself; largest input there: 90.",
        ),
        (
            [("nonfinite.source", "gradient"), ("nonfinite.layer", "fc.weight"), ("nonfinite.input_max", math.nan)],
            "The loss is nan at step 7",
            "It arose first in the gradient of fc.weight.",
        ),
        (
            [("nonfinite.source", "activation"), ("nonfinite.layer", "(output)")],
            "The loss is nan at step 7",
            "It arose first in the output of the model.",
        ),
    ],
)
def test_a_nan_is_told_by_what_is_known_of_it(records: list[tuple], title: str, cause: str) -> None:
    ledger = Ledger()
    ledger.add("nonfinite.step", "nan", "", 7)
    for name, value in dict(records).items():
        ledger.add(name, value, "", 7)
    (found,) = nonfinite(ledger)
    assert (worded(found).title, worded(found).cause) == (title, cause)
    words = worded(found, "zh")
    assert "?" not in words.title + words.cause
    assert CHINESE.search(words.cause)
    assert not re.search("input|output|gradient|samples|largest|arose", words.title + words.cause)
