"""`danlu watch SCRIPT ARGS...`: run a program under the doctor. Imports nothing that imports torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from danlu.console.flags import Parser
from danlu.doctor.observation.budget import DEFAULT_FRACTION, check_fraction
from danlu.doctor.script.import_hook import after_import
from danlu.doctor.script.launch import run_program
from danlu.doctor.script.launcher import is_launcher, through_launcher
from danlu.message import message
from danlu.refuse import NOTHING, refusal

if TYPE_CHECKING:
    from danlu.doctor.script.program import ProgramDoctor

VALUE_FLAGS = ("--out", "--lang", "--budget")  # flags of `danlu watch` with a value


def split_program(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the words after `watch` into flags of `danlu watch` and the program: [SCRIPT or -m MODULE, ARGS...].

    >>> split_program(["--lang", "zh", "train.py", "--lang", "fr"])
    (['--lang', 'zh'], ['train.py', '--lang', 'fr'])
    """
    end = 0
    while end < len(argv) and argv[end].startswith("--"):
        end += 2 if argv[end] in VALUE_FLAGS else 1
    return list(argv[:end]), list(argv[end:])


def watch_command(argv: Sequence[str], parser: Parser, language: str) -> int:
    """Run the program; return its exit code.

    argv: words after `watch`. parser: parser of its own flags. language: code of the language of the findings.
    """
    flags, program = split_program(argv)
    values = vars(parser.parse_args([*flags, *program[:1]] if program[:1] == ["-h"] else flags))
    parser.refuse_empty(values)
    as_module = program[:1] == ["-m"]
    program = program[as_module:]
    if not program or not program[0]:
        raise refusal(
            "SCRIPT", message("console.wanted.python_script_module", "a Python script, or -m MODULE"), NOTHING
        )
    target, arguments = program[0], program[1:]
    if values["out"] and os.path.lexists(values["out"]) and not os.path.isdir(values["out"]):
        raise refusal("--out", message("console.wanted.folder", "a folder, new or not"), values["out"])
    budget = check_fraction(values["budget"] or DEFAULT_FRACTION, "--budget")
    if is_launcher(target, as_module):
        target, arguments = through_launcher(target, arguments, [*flags, "--lang", language])
        return run_program(target, arguments, as_module=True, finish=lambda: None)
    out = values["out"] or f"doctor_{target.rpartition('.')[2] if as_module else Path(target).resolve().stem}"
    made: list[ProgramDoctor] = []

    def start() -> None:
        from danlu.doctor.script.program import ProgramDoctor

        made.append(ProgramDoctor(budget=budget, language=language, out=Path(out).absolute()))

    def finish() -> None:
        if made:
            made[0].close()

    if os.environ.get("RANK", "0") == "0":  # of several processes, the first
        after_import("torch", start)
    return run_program(target, arguments, as_module=as_module, finish=finish)
