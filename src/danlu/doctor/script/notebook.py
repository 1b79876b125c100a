"""`%load_ext danlu`: watch the trainings of a notebook, and report new findings after each cell."""

from __future__ import annotations

from typing import Any

from danlu.doctor.script.program import ProgramDoctor

_watching: list[ProgramDoctor] = []


def load(shell: Any) -> ProgramDoctor:
    """Start watching the kernel. The variable `danlu_doctor` of the notebook is the doctor.

    shell: the InteractiveShell of IPython.
    """
    doctor = ProgramDoctor()
    shell.push({"danlu_doctor": doctor})
    shell.events.register("post_run_cell", _after_cell)
    _watching.append(doctor)
    return doctor


def unload(shell: Any) -> None:
    """Stop watching and print the findings."""
    while _watching:
        shell.events.unregister("post_run_cell", _after_cell)
        _watching.pop().close()


def _after_cell(*result: Any) -> None:
    for doctor in _watching:
        doctor.say_new()
