"""The calls between the command `danlu train` and the training step are few, and ARCHITECTURE.md names them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from torch.optim.optimizer import register_optimizer_step_pre_hook

import danlu
from danlu.cli import main

MAX_HOPS = 5
SOURCE = str(Path(danlu.__file__).parent)


def test_five_hops_from_the_command_to_the_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hop is a call of one function of danlu by another.

    They are read from the call stack of a real training when its optimiser steps, from `train_command` to the function
    that calls the optimiser. Context managers that are entered on the way are no hops: they return before the next
    call.
    """
    stacks: list[list[str]] = []

    def keep_stack(*_: Any) -> None:
        frame, names = sys._getframe(1), list[str]()
        while frame is not None:
            if frame.f_code.co_filename.startswith(SOURCE):
                names.append(frame.f_code.co_name)
            frame = frame.f_back
        stacks.append(names[names.index("train_command") :: -1])

    handle = register_optimizer_step_pre_hook(keep_stack)
    try:
        command = f"train digits --model lenet --epochs 1 --device cpu --out {tmp_path / 'r'} --lang en"
        assert main(command.split()) == 0
    finally:
        handle.remove()
    chain = stacks[0]
    assert all(stack == chain for stack in stacks)
    assert len(chain) - 1 <= MAX_HOPS, " -> ".join(chain)
    architecture = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert " -> ".join(f"`{name}`" for name in chain) in " ".join(architecture.split())
