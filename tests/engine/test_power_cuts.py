"""A run that a power cut has stopped at any moment is resumed to the bits of an undisturbed one."""

from __future__ import annotations

import random
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.power_cuts import Moment, after_power_cut, recorded

# A checkpoint after every step.
WORDS = shlex.split(
    "train digits --model softmax --epochs 3 --data.limit 120 --batch-size 20 --log-every 2 --save-every 1e-9 "
    "--precision fp32 --channels-last false --device cpu"
)
RECORDED = """
import danlu.cli
from tests.engine.power_cuts import Recorder
recorder, unobserved = Recorder({folder!r}), danlu.cli.main
recorder.install()
def observed(words):
    code = unobserved(words)
    recorder.keep({kept!r})
    return code
danlu.cli.main = observed
"""


@pytest.fixture(scope="module")
def whole(danlu_of_module: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Moment]]:
    """Folder of an undisturbed run, and the moments of its writes."""
    home = tmp_path_factory.mktemp("whole")
    run, kept = home / "run", home / "moments"
    before = RECORDED.format(folder=str(run), kept=str(kept))
    command = danlu_of_module(*WORDS, "--out", run, before=before)
    assert command.wait() == 0, command.said
    return run, recorded(kept)


def fault(
    seed: int,
    whole: tuple[Path, list[Moment]],
    danlu: Callable[..., Any],
    result: Callable[[Path], dict[str, Any]],
    home: Path,
) -> str:
    """Cut the power at a moment that follows from the seed, and go on; return what is wrong then, "" for nothing."""
    (run, moments), again = whole, home / "again" / "run"
    shutil.rmtree(again.parent, ignore_errors=True)
    again.mkdir(parents=True)
    count = random.Random(seed).randrange(len(moments))
    after_power_cut(moments, count, seed, run, again)
    resumed = (again / "config.yaml").exists()
    command = danlu("train", "--resume", again) if resumed else danlu(*WORDS, "--out", again)
    where = f"seed {seed}, moment {count} of {len(moments)}: "
    if command.wait() != 0:
        return where + command.said[-300:]
    same = (again / "report.html").exists() and result(again) == result(run)
    return "" if same else where + "other results"


@pytest.mark.parametrize("seed", range(6))
def test_a_run_survives_a_power_cut(seed, whole, danlu, result, tmp_path) -> None:
    assert not fault(seed, whole, danlu, result, tmp_path)


@pytest.mark.slow
def test_runs_survive_power_cuts(whole, danlu, result, tmp_path) -> None:
    faults = [found for seed in range(100, 200) if (found := fault(seed, whole, danlu, result, tmp_path))]
    assert not faults, "\n".join(faults)


def test_what_was_not_forced_may_be_lost(tmp_path: Path) -> None:
    """A file that is renamed without fsync may be empty, or hold zeros, after a power cut."""
    old, new = tmp_path / "old", tmp_path / "new"
    part, place = str(old / "part"), str(old / "place")
    before, after = {place: (1, b"old")}, {place: (1, b"old"), part: (2, b"newer")}
    renamed = {place: (2, b"newer")}
    first = [("open", place, ""), ("open", part, ""), ("os.rename", part, place)]
    moments = [
        Moment({}, [str(old)], first[0]),
        Moment(before, [str(old)], None, place),
        Moment(before, [str(old)], None, str(old)),
        Moment(before, [str(old)], first[1]),
        Moment(after, [str(old)], first[2]),
        Moment(renamed, [str(old)], None, str(old)),
    ]
    found = set()
    for seed in range(60):
        shutil.rmtree(new, ignore_errors=True)
        after_power_cut(moments, 5, seed, old, new)
        found.add((new / "place").read_bytes())
    assert {b"old", b"newer", b""} < found
    assert bytes(5) in found
