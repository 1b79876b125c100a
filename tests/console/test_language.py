"""The language of the command line: where it is read from, and that help and refusals are in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from danlu.cli import main
from danlu.config import keys
from danlu.console.help_text import _cells, _wrapped
from danlu.console.language import language_of, split_language
from danlu.console.parser import VERBS, build_parsers
from danlu.message import table
from danlu.refuse import Refusal

CHINESE = re.compile("[\u4e00-\u9fff]")
TEXTS = {id: text for parser in build_parsers()[1].values() for id, text in parser.texts.items()}
TEXTS |= {f"settings.{key}": setting.text for key, setting in keys().items()}
TEXTS |= {f"help.verb.{name}": verb.text for name, verb in VERBS.items()}


@pytest.mark.parametrize(
    ("words", "rest", "code"),
    [
        ("train digits", "train digits", None),
        ("--lang zh train digits", "train digits", "zh"),
        ("--lang=zh train digits", "train digits", "zh"),
        ("train digits --lang zh --lr 1", "train digits --lr 1", "zh"),
        ("train --lang=zh digits", "train digits", "zh"),
        ("--lang zh predict runs/1 a.png --lang en", "predict runs/1 a.png", "en"),
        ("watch --lang zh train.py --lang fr", "watch train.py --lang fr", "zh"),
        ("--lang zh watch train.py --lang fr", "watch train.py --lang fr", "zh"),
        ("--lang zh", "", "zh"),
    ],
)
def test_language_is_taken_before_and_after_the_verb(words: str, rest: str, code: str | None) -> None:
    assert split_language(words.split()) == (rest.split(), code)


def test_an_unknown_language_is_refused_in_the_usual_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DANLU_LANG", "zh")
    assert main(["train", "digits", "--lang", "fr"]) == 2
    assert capsys.readouterr().err == "danlu: --lang 要求：en、zh 之一；得到的是 'fr'\n"
    monkeypatch.setenv("DANLU_LANG", "de")
    assert main(["train", "digits"]) == 2
    assert "DANLU_LANG must be one of en, zh, got 'de'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--val", "2.5"], "--val 要求：0 到 1 之间的比例、样本数（0 表示没有）或路径；得到的是 '2.5'"),
        (["--data.window", "9,1"], "--data.window 要求：从小到大排列；得到的是 '9,1'"),
    ],
)
def test_values_of_several_forms_are_refused_in_chinese(
    capsys: pytest.CaptureFixture[str], words: list[str], wanted: str
) -> None:
    assert main(["train", "digits", *words, "--lang", "zh"]) == 2
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--lang fr train", "train --lang", "train --lang= x", "train --lang fr --lang zh"])
def test_unknown_language_is_refused(words: str) -> None:
    with pytest.raises(Refusal, match="--lang must be one of en, zh"):
        split_language(words.split())


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({}, None),
        ({"LANG": "en_GB.UTF-8"}, None),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, None),
        ({"LANG": "C", "LC_ALL": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "DANLU_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "DANLU_LANG": "zh"}, "zh"),
    ],
)
def test_language_of_the_environment(environment: dict[str, str], code: str | None) -> None:
    assert language_of(environment) == code


def test_unknown_language_of_the_variable_is_refused() -> None:
    with pytest.raises(Refusal, match="DANLU_LANG must be one of en, zh, got 'de'"):
        language_of({"DANLU_LANG": "de"})


@pytest.mark.parametrize("verb", VERBS)
def test_help_in_chinese_has_no_english_sentence(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--lang", "zh", verb, "--help", "all"])
    text = capsys.readouterr().out
    assert CHINESE.search(text)
    found = re.findall(r"(?:\b[a-z]{2,}\b[ ,]+){3}", text)
    untranslated = " ".join(english for id, english in TEXTS.items() if id not in table("zh"))
    assert not [words for words in found if words.strip() not in untranslated]
    with pytest.raises(SystemExit):
        main([verb, "--help", "all"])
    assert not CHINESE.search(capsys.readouterr().out)


def test_help_lists_what_a_beginner_needs_and_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    short = capsys.readouterr().out
    assert "--epochs" in short
    assert "--optim.beta1" not in short
    assert "`danlu train --help all` lists" in short
    assert len(short.splitlines()) < 80


def test_refusals_are_in_the_language(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["trian", "--lang", "zh"]) == 2
    assert capsys.readouterr().err == "danlu: 没有 'trian' 这个命令；是不是 'train'？\n"
    monkeypatch.setenv("DANLU_LANG", "zh")
    assert main(["train", "--epochz", "3"]) == 2
    assert capsys.readouterr().err == "danlu: danlu train 没有参数 '--epochz'；是不是 '--epochs'？\n"
    assert main(["train", "--epochs"]) == 2
    assert capsys.readouterr().err == "danlu: --epochs 后面需要一个值：遍历训练集的次数（见 `danlu train --help`）\n"
    monkeypatch.setenv("DANLU_LANG", "de")
    assert main(["train"]) == 2


def test_chinese_help_is_wrapped_by_the_width_of_its_characters() -> None:
    text = "训练时随机失活的隐藏单元比例，例如 dropout 0.5；0 为关闭（默认）。"
    for width in (10, 17, 30):
        lines = _wrapped(text, width)
        assert all(_cells(line) <= width + 2 for line in lines)  # closing punctuation may stand beyond it
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert not [line for line in _wrapped(text, 17) if line[0] in "，；。）"]


def test_every_chinese_text_has_chinese() -> None:
    chinese = table("zh")
    assert len([text for text in chinese.values() if CHINESE.search(text)]) > 0.9 * len(chinese)


@pytest.mark.parametrize(
    ("verb", "kinds"), [("networks", ("network", "detector", "segmenter")), ("formats", ("format",))]
)
def test_lists_of_entries_are_in_chinese(verb: str, kinds: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert main(["--lang", "zh", verb]) == 0
    printed = re.sub(r"\s", "", "".join(capsys.readouterr()))
    for kind, named in zip(kinds, listed.values(), strict=True):
        for name, description in named.items():
            if (chinese := table("zh").get(f"{kind}.{name}")) is None:  # shown in English
                assert name + re.sub(r"\s", "", description) in printed
                continue
            assert CHINESE.search(chinese)
            assert sorted(re.findall(r"\d+", chinese)) == sorted(re.findall(r"\d+", description))
            assert name + re.sub(r"\s", "", chinese) in printed


def test_python_speaks_the_language_of_the_environment(tmp_path) -> None:
    """Errors, findings and new runs of the Python API are in the language of DANLU_LANG; an unknown one is English."""
    script = """
import danlu, torch
from danlu.config import new_config
from danlu.message import language
try:
    danlu.train("nowhere")
except danlu.Refusal as error:
    print(error)
print(danlu.watch(torch.nn.Linear(2, 2)).language, language())
print(new_config().doctor.language)  # of every new run
"""
    for variable, told, code in (("zh", "要求", "zh"), ("de", "must be", "en")):
        environment = {**os.environ, "DANLU_LANG": variable, "PYTHONIOENCODING": "utf-8"}
        words = [sys.executable, "-c", script]
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert told in lines[0]
        assert f"{code} {code}" in lines
        assert lines[-1] == code
