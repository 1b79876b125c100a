"""Flags and commands that sentences of danlu name exist, so that what is pasted from them runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import danlu
from danlu.cli import main
from danlu.console.parser import ALIASES, VERBS, build_parsers

SOURCE = Path(danlu.__file__).parent
FLAG = re.compile(r"(?<![\w-])--[a-z][\w.-]*\w")
COMMAND = re.compile(r"\bdanlu ([a-z]+)\b(?! (?:is|needs|can|must|has|does|reads|knows|chose))")
OF_OTHERS = {"--one-top-level", "--no-python", "--logdir", "--project", "--help"}  # tar, torchrun, tensorboard, trackio
PARTS = ("title", "cause", "fix", "text", "do")


def sentences() -> Iterator[tuple[str, str]]:
    """(place, text) of every message and every text of a finding."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            texts = node.args[1:2] if name in ("message", "translated", "Message") else []
            texts += [one.value for one in node.keywords if name == "Words" and one.arg in PARTS]
            for text in texts:
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield f"{path.relative_to(SOURCE)}:{text.lineno}", text.value


def test_flags_and_verbs_in_sentences_exist() -> None:
    flags = {flag for parser in build_parsers()[1].values() for flag in parser.flags} | OF_OTHERS
    found = list(sentences())
    assert len(found) > 1000
    unknown = [
        (place, flag)
        for place, text in found
        for flag in FLAG.findall(text)
        if flag.replace("_", "-") not in flags and flag not in flags
    ]
    assert not unknown
    quoted = [(place, verb) for place, text in found for verb in COMMAND.findall(" ".join(re.findall("`(.+?)`", text)))]
    assert len(quoted) > 10
    assert not [one for one in quoted if one[1] not in {*VERBS, *ALIASES}]


@pytest.mark.parametrize(("word", "verb"), [("heal", "diagnose"), ("resume", "train"), ("folds", "train")])
def test_a_verb_that_is_a_flag_names_its_verb(word: str, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word, "runs/1"]) == 2
    error = capsys.readouterr().err
    assert f"--{word} is a flag of " in error
    assert f"danlu {verb}" in error


@pytest.mark.parametrize("verb", ["train", "tune", "describe", "diagnose"])
def test_flags_that_sentences_on_data_name_exist_on_every_verb_that_reads_data(verb: str) -> None:
    flags = set(build_parsers()[1][verb].flags)
    found = [(text, place) for place, text in sentences() if re.match("data/(?!augmentation)", place)]  # of train alone
    named = {(flag, place) for text, place in found for flag in FLAG.findall(text)}
    assert {flag for flag, _ in named} >= {"--format", "--task", "--target"}
    assert not {(flag, place) for flag, place in named if flag not in flags | OF_OTHERS}
