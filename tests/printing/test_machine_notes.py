"""Notes before a training on settings that cost time on this machine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from danlu.printing.machine_notes import machine_notes


@pytest.mark.parametrize(
    ("compile", "devices", "device", "said"),
    [
        (False, 1, "cpu", []),
        (True, 1, "cpu", ["--compile"]),
        (False, 2, "cpu", ["--devices 2"]),
        (False, 2, "cuda", []),
        (True, 2, "cpu", ["--compile", "--devices 2"]),
    ],
)
def test_notes_name_the_flag_and_what_to_do(compile: bool, devices: int, device: str, said: list[str]) -> None:
    config = SimpleNamespace(compile=compile, devices=devices)
    notes = machine_notes(SimpleNamespace(config=config, device=torch.device(device)))
    assert [flag for flag, note in zip(said, notes) if flag in note and "leave" in note] == said
    assert len(notes) == len(said)
