"""Wording of findings: percentages, nested messages, places, both languages."""

from __future__ import annotations

import copy
import json
import math
import re

import pytest

from danlu.doctor.finding import Finding, in_one_line
from danlu.doctor.findings.numerics.nonfinite import nonfinite
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message, readable, recorded, shown
from danlu.doctor.places import OUTPUT, VALIDATION, class_place
from danlu.doctor.wording import place, worded
from danlu.message import speaking, table

CHINESE = re.compile("[一-鿿]")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "100 %"), (0.934567, "93.5 %"), (0.0, "0 %"), (0.00123, "0.123 %"), ("?", "?"), (1, "100 %")],
)
def test_fractions_are_shown_as_percentages(value: object, text: str) -> None:
    assert f"{readable(value):%}" == text


def test_numbers_are_short() -> None:
    assert [shown(v) for v in (3.0, 0.123456, 12345.678, True, [0.5, 2.0])] == [3, 0.123, 12300.0, True, "0.5, 2"]


def test_a_message_shows_short_numbers_and_keeps_exact_ones() -> None:
    rose = message("finding.optim.lr_too_high.rose", "The loss rose to {growth} times its start", growth=12.345)
    assert str(rose) == "The loss rose to 12.3 times its start"
    kept = json.loads(json.dumps(rose.to_dict()))
    assert kept["values"] == {"growth": 12.345}
    with_step = message("finding.optim.lr_too_high.rose", "{growth} at {step}", growth=12.345, step=37)
    assert copy.deepcopy(with_step).render("zh") == "损失在第 37 步升到开始时的 12.3 倍"


def test_dead_units_in_per_cent_and_no_bare_one() -> None:
    facts = {"fraction": 1.0, "samples": 640, "layers": 1, "of": 3}
    for language in ("en", "zh"):
        cause = worded(Finding("activation.dead_relu", "error", 0.9, "2", facts), language).cause
        assert "100 %" in cause
    assert "layer 2" in worded(Finding("activation.dead_relu", "error", 0.9, "2", facts)).title
    assert "第 2 层" in worded(Finding("activation.dead_relu", "error", 0.9, "2", facts), "zh").title


def wordings() -> dict[str, str]:
    """Translation id -> English text of all wordings of findings."""
    found = {}
    for code, spec in FINDINGS.items():
        for words, id in ((spec.words, code), (spec.before_training, f"{code}.before")):
            if words is not None:
                found |= {f"finding.{id}.{part}": getattr(words, part) for part in ("title", "cause", "fix")}
    return found


@pytest.mark.parametrize("id", sorted(set(wordings()) & set(table("zh"))))
def test_a_translation_uses_the_evidence_as_the_english_text_does(id: str) -> None:
    code = id.removeprefix("finding.").rpartition(".")[0]
    spec = FINDINGS[code.removesuffix(".before")]
    words = spec.before_training if code.endswith(".before") else spec.words
    assert words is not None
    field = re.compile(r"(?<!\{)\{(\w+)(:[^}]*)?\}")
    specs = dict(field.findall(f"{words.title} {words.cause} {words.fix}"))
    translated = field.findall(table("zh")[id])
    assert all(specs.get(name, form) == form for name, form in translated)


def test_an_evidence_that_is_missing_is_a_question_mark() -> None:
    assert "?" in worded(Finding("activation.dead_relu", "error", 0.9, "2", {})).cause
    assert worded(Finding("unheard.of", "note", 0.5)).title == "unheard.of"


def test_a_finding_without_a_translation_is_in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {id: text for id, text in table("zh").items() if not id.startswith("finding.optim.lr_too_low")}
    monkeypatch.setattr("danlu.message.table", lambda code: kept)
    finding = worded(Finding("optim.lr_too_low", "warning", 0.9, "", {"lr": 1e-6}), "zh")
    assert finding.title == FINDINGS["optim.lr_too_low"].words.title


def test_a_line_in_chinese_has_no_english_frame() -> None:
    finding = Finding("fit.one_class", "warning", 0.8, class_place(3), {"class": 3, "predicted": 0.5})
    line = in_one_line(worded(finding, "zh"), "zh")
    assert line.startswith(f"警告：{worded(finding, 'zh').title}〔fit.one_class（类别 3）〕。")
    title = worded(finding).title
    assert in_one_line(worded(finding)).startswith(f"warning: {title} [fit.one_class (class 3)]. ")
    assert line == in_one_line(worded(finding, "zh").to_dict(), "zh")
    assert str(worded(finding)).startswith(f"{title} [warning, fit.one_class, class 3]. ")
    assert str(worded(finding, "zh")).startswith(worded(finding, "zh").title)


def test_json_is_english_where_it_is_no_sentence() -> None:
    facts = {"how": message("finding.loop.metric_last_batch.batch_mean", "the mean of the batches"), "told": 0.5}
    kept = worded(Finding("loop.metric_last_batch", "warning", 0.9, VALIDATION, facts), "zh").to_dict()
    assert (kept["where"], kept["place"]) == ("validation", "验证")
    assert kept["evidence"] == {"how": "the mean of the batches", "told": 0.5}
    assert json.loads(json.dumps(kept)) == kept


def test_places() -> None:
    assert [place(w) for w in ("0", "head.fc", class_place(3))] == ["layer 0", "head.fc", "class 3"]
    with speaking("zh"):
        assert [place(w) for w in (OUTPUT, VALIDATION, "head.fc", "0")] == ["输出", "验证", "head.fc", "第 0 层"]


def test_user_given_names_are_not_translated() -> None:
    """A layer called output, a metric called loss: only a Message is translated."""
    with speaking("zh"):
        assert [place(name) for name in ("output", "loss", "device")] == ["output", "loss", "device"]
    how = message("finding.loop.metric_last_batch.batch_mean", "the mean of the batches")
    told = {"metric": "loss", "told": 0.5, "right": 0.4, "how": how, "epoch": 3}
    finding = worded(Finding("loop.metric_last_batch", "warning", 0.9, "loss", told), "zh")
    assert "loss" in finding.title + finding.cause
    assert finding.place == "loss"
    assert "各批次的平均" in finding.cause


def test_sentences_of_instruments_are_translated() -> None:
    failed = "the instrument failed and was put aside: KeyError: 'x'"
    assert [str(recorded(text)) for text in ("curvature", failed, "a {} of its own")] == [
        "curvature",
        failed,
        "a {} of its own",
    ]
    with speaking("zh"):
        assert str(recorded("curvature")) == "曲率"
        assert str(recorded(failed)) == "仪器出错，已停用：KeyError: 'x'"
        assert str(recorded("a {} of its own")) == "a {} of its own"


REASON = ("nonfinite.reason", "log of zero")
AT_CONV = [("nonfinite.source", "activation"), ("nonfinite.layer", "conv.1")]


@pytest.mark.parametrize(
    ("records", "title", "cause"),
    [
        ([], "The loss became NaN at step 7", "NaN or infinity arose first in a place that was not seen."),
        (
            [("nonfinite.source", "input"), ("nonfinite.samples", [3, 5]), REASON],
            "The loss became NaN at step 7: log of zero",
            "NaN or infinity arose first in the input (samples 3, 5 of the batch, counted from 0).",
        ),
        (
            [*AT_CONV, ("nonfinite.samples", [0]), ("nonfinite.input_max", 81.25), REASON],
            "The loss became NaN at step 7: log of zero",
            "NaN or infinity arose first in the output of conv.1 (samples 0 of the batch, counted from 0); the largest input there is 81.2.",
        ),
        (
            [*AT_CONV, ("nonfinite.layer", ">4"), ("nonfinite.samples", [])],
            "The loss became NaN at step 7",
            "NaN or infinity arose first in what flows into layer 4.",
        ),
        (
            [("nonfinite.source", "loss"), ("nonfinite.input_max", 90.0), ("nonfinite.reason", "overflow of exp")],
            "The loss became NaN at step 7: overflow of exp",
            "NaN or infinity arose first in the loss itself; the largest input there is 90.",
        ),
        (
            [("nonfinite.source", "gradient"), ("nonfinite.layer", "fc.weight"), ("nonfinite.input_max", math.nan)],
            "The loss became NaN at step 7",
            "NaN or infinity arose first in the gradient of fc.weight.",
        ),
        (
            [("nonfinite.source", "activation"), ("nonfinite.layer", "(output)")],
            "The loss became NaN at step 7",
            "NaN or infinity arose first in the output of the model.",
        ),
    ],
)
def test_nan_is_described_by_the_known_facts(records: list[tuple], title: str, cause: str) -> None:
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
