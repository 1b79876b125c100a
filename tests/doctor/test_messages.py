"""Words: shares as per cent, every sentence of a rule in Chinese as well, places that people can find."""

from __future__ import annotations

import ast
import copy
import json
import re
from pathlib import Path

import pytest

from danlu.doctor import rules
from danlu.doctor.finding import SEVERITIES, Finding
from danlu.doctor.messages import MESSAGES, in_one_line, place, said, terms, worded
from danlu.doctor.phrase import Phrase, Shown, shown
from danlu.doctor.rules.outputs import MENDED
from danlu.doctor.wording.before import WORDS
from danlu.doctor.wording.phrases import ZH
from danlu.doctor.wording.terms import TERMS

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
    return [s for s in found if isinstance(s, str) and " " in s] + list(MENDED.values())


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
    finding = worded(Finding("fit.one_class", "warning", 0.8, "class 3", {"class": 3, "predicted": 0.5}), "zh")
    line = in_one_line(finding, "zh")
    assert line.startswith("警告：fit.one_class（类别 3）：")
    assert in_one_line(worded(finding)).startswith("warning: fit.one_class (class 3): ")


def test_places() -> None:
    assert [place(w) for w in ("0", "head.fc", "class 3")] == ["layer 0", "head.fc", "class 3"]
    assert [place(w, "zh") for w in ("output", "validation", "head.fc")] == ["输出", "验证", "head.fc"]
