"""Stages of long work are shown after a delay, with how much is done; quick ones and those without a display are not."""

from __future__ import annotations

import io
import subprocess
import sys
import time

import pytest
from rich.console import Console

from danlu.message import speaking
from danlu.progress.lines import StageLines, described
from danlu.progress.silence import silent_thread
from danlu.progress.stages import Stage, duration, showing, stage


def console(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=60)


def text_of(shown: Console) -> str:
    return shown.file.getvalue()  # type: ignore[attr-defined]


def test_a_stage_that_ends_soon_prints_nothing() -> None:
    shown = console()
    with showing(StageLines(shown)), stage("reading"):
        pass
    assert text_of(shown) == ""


def test_a_long_stage_prints_one_plain_line() -> None:
    shown = console()
    with showing(StageLines(shown)), stage("reading", total=10, delay=0.1) as reading:
        reading.advance(4)
        time.sleep(0.7)
    (line,) = text_of(shown).splitlines()
    assert line.startswith("reading  4 of 10")
    assert line.endswith("left")


def test_a_stage_without_a_delay_is_shown_as_it_begins() -> None:
    shown = console()
    with showing(StageLines(shown)), stage("starting", delay=0):
        assert text_of(shown) == "starting\n"


def test_two_stages_of_one_name_in_a_row_print_one_line() -> None:
    shown = console()
    with showing(StageLines(shown)):
        for _ in range(2):
            with stage("reading", delay=0.0):
                time.sleep(0.4)
    assert text_of(shown).splitlines() == ["reading"]


def test_the_line_is_in_the_language_of_the_command() -> None:
    shown = console()
    with speaking("zh"), showing(StageLines(shown)), stage("读取", total=10, delay=0.1) as reading:
        reading.advance(4)
        time.sleep(0.7)
    assert text_of(shown).startswith("读取  4 / 10  剩余")


def test_the_innermost_stage_is_shown_and_erased_on_a_terminal() -> None:
    shown = console(terminal=True)
    with showing(StageLines(shown)), stage("outer", delay=0.1), stage("inner", delay=0.1):
        time.sleep(0.6)
    text = text_of(shown)
    assert "inner" in text
    assert "outer" not in text
    assert text.endswith("\x1b[2K")


def test_nothing_is_shown_without_a_display_or_on_a_quiet_console() -> None:
    quiet = Console(file=io.StringIO(), quiet=True)
    for display in (None, StageLines(quiet)):
        with showing(display), stage("reading", delay=0.0) as reading:
            assert list(reading.each("abc")) == ["a", "b", "c"]
            time.sleep(0.3)
    assert reading.done == 3
    assert text_of(quiet) == ""


def test_an_error_ends_the_stage() -> None:
    lines = StageLines(console())
    with pytest.raises(ValueError, match="broken"), showing(lines), stage("reading"):
        raise ValueError("broken")
    assert lines._stages == []


def test_time_left_is_that_of_the_speed_so_far() -> None:
    half = Stage("reading", total=10, done=5, began=time.monotonic() - 20)
    assert half.seconds_left() == pytest.approx(20, rel=0.01)
    assert described(half) == "reading  5 of 10  20 s left"
    with speaking("zh"):
        assert described(half) == "reading  5 / 10  剩余 20 s"
    assert Stage("reading", total=10).seconds_left() is None


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (125, "2 min 05 s"), (11_220, "3 h 07 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_modules_need_no_torch() -> None:
    code = "import sys, danlu.progress.lines, danlu.progress.stages; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_stage_is_shown_while_a_library_is_silenced(capsys) -> None:
    with showing(StageLines(Console())), stage("writing", delay=0.1), silent_thread():
        print("a note of the library")
        time.sleep(0.7)
    assert capsys.readouterr().out.split() == ["writing"]
