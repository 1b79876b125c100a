"""Errors of calls in Python name arguments, those of commands name flags."""

from __future__ import annotations

import pytest

import danlu
from danlu.cli import main
from danlu.python_calls import in_python


@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        ("--model must be a network, got 'x'", "model must be a network, got 'x'"),
        ("leave --model out to use it", "leave model out to use it"),
        ("try --lr 0.003, or --model timm/resnet18.", "try lr=0.003, or model='timm/resnet18'."),
        ("use --optim.clip-norm 1", "use optim={'clip_norm': 1}"),
        ("use --data.balance true", "use data={'balance': True}"),
        ("--resume runs/1: state.pt is gone", "resume='runs/1': state.pt is gone"),
        ("go on with `danlu train --resume runs/1`", "go on with `danlu train --resume runs/1`"),
        ("or danlu train DATA --init runs/1; --out is new", "or danlu train DATA --init runs/1; out is new"),
        ("请用 --size 64，或省略 --fit。", "请用 size=64，或省略 fit。"),
        ("a --- b, non--flag", "a --- b, non--flag"),
    ],
)
def test_flags_become_arguments(flags: str, arguments: str) -> None:
    assert in_python(flags) == arguments


def test_a_call_names_the_argument_and_a_command_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(danlu.Refusal, match=r"^model must be a known network"):
        danlu.train("digits", model="resnt20", quiet=True)
    assert main(["train", "digits", "--model", "resnt20"]) == 2
    assert "danlu: --model must be a known network" in capsys.readouterr().err
