"""Ctrl-C and SIGTERM: the state is saved, the exit code names the signal, and the run can be resumed."""

import os
import shlex
import signal
import time

import pytest

RUN = shlex.split(
    "train digits --model mlp --model.dropout 0.2 --epochs 40 --batch-size 50 --optim.accumulate 2 --optim.ema 0.9 "
    "--precision fp32 --channels-last false --device cpu --log-every 10"
)
SHORT = [*RUN, "--epochs", "12"]
# A step takes long enough for a signal to fall inside an epoch.
SLOW = "import danlu.engine.loop as l, time; s = l._seed; l._seed = lambda *a: (time.sleep(0.004), s(*a))"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, result):
    from danlu import cli

    run = tmp_path_factory.mktemp("whole") / "run"
    assert cli.main([*SHORT, "--out", str(run)]) == 0
    return result(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_stops_without_loss(number, danlu, result, whole, lines, tmp_path):
    run = tmp_path / "run"
    command = danlu(*SHORT, "--out", run, before=SLOW)
    command.until(lambda: lines(run / "metrics.jsonl") >= 7)
    command.signal(number)
    assert command.wait() == 128 + number
    assert f"interrupted by {number.name}; go on with `danlu train --resume {run}`" in command.said
    assert "Traceback" not in command.said
    assert (run / "report.html").exists()
    between = result(run)
    assert between["epochs"] < 12
    assert between["test_looks"] == 0  # the test split is for the end
    assert not between["metrics"]["test"]
    resumed = danlu("train", "--resume", run)
    assert resumed.wait() == 0, resumed.said
    assert result(run) == whole


def test_a_signal_in_the_first_epoch(danlu, result, whole, lines, tmp_path):
    run = tmp_path / "run"
    command = danlu(*SHORT, "--out", run, before=SLOW)
    command.until(lambda: lines(run / "metrics.jsonl") >= 1)
    command.signal(signal.SIGTERM)
    assert command.wait() == 128 + signal.SIGTERM
    assert "Traceback" not in command.said
    resumed = danlu("train", "--resume", run)
    assert resumed.wait() == 0, resumed.said
    assert result(run) == whole


IGNORED = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # as in a shell's background
DEFAULT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "


@pytest.mark.parametrize(
    ("number", "code", "before"),
    [(signal.SIGINT, 130, DEFAULT), (signal.SIGINT, 130, IGNORED), (signal.SIGTERM, -signal.SIGTERM, DEFAULT)],
)
def test_a_second_signal_ends_at_once(number, code, before, danlu, lines, tmp_path):
    run = tmp_path / "run"
    very_slow = before + SLOW.replace("time.sleep(0.004)", "print('a step begins', flush=True), time.sleep(8)")
    command = danlu(*SHORT, "--out", run, before=very_slow)
    command.until(lambda: "a step begins" in command.said)
    command.signal(number)
    command.until(lambda: "a second signal ends at once" in command.said)  # two at one moment would count as one
    began = time.monotonic()
    command.signal(number)
    assert command.wait(10) == code
    assert time.monotonic() - began < 6  # within the step, which takes 8 s, even on a machine that is busy
    assert "Traceback" not in command.said


def _children(pid: int) -> list[int]:
    """Processes whose parent is `pid`, from the kernel's table."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry))
    return found


def _gone(pids: list[int], seconds: float = 15) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}") and not _zombie(pid)]
        if not alive:
            return True
        time.sleep(0.05)
    return False


def _zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="reads the kernel's table of processes")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_two_processes_are_told_together_and_none_is_left(number, danlu, result, lines, tmp_path):
    """SIGINT goes to all of them, as from a terminal; SIGTERM and SIGKILL to the first alone."""
    run, alone = tmp_path / "run", tmp_path / "alone"
    both = [*SHORT, "--devices", 2]
    whole = danlu(*both, "--out", alone)
    assert whole.wait() == 0, whole.said
    command = danlu(*both, "--epochs", 12, "--out", run)
    command.until(lambda: lines(run / "metrics.jsonl") >= 3)
    pids = _children(command.process.pid)
    assert len(pids) >= 2
    if number == signal.SIGINT:
        for pid in pids:
            os.kill(pid, number)
    command.signal(number)
    assert command.wait() == (128 + number if number != signal.SIGKILL else -number), command.said
    assert _gone(pids)
    assert "Traceback" not in command.said
    resumed = danlu("train", "--resume", run)
    assert resumed.wait() == 0, resumed.said
    assert result(run) == result(alone)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.5, 2, 4])
def test_a_signal_while_the_processes_start(seconds, danlu, tmp_path):
    run = tmp_path / "run"
    command = danlu(*SHORT, "--devices", 2, "--out", run)
    command.until((run / "environment.json").exists)
    time.sleep(seconds)
    pids = _children(command.process.pid)
    command.signal(signal.SIGTERM)
    assert command.wait() == 128 + signal.SIGTERM, command.said
    assert _gone(pids)
    resumed = danlu("train", "--resume", run)
    assert resumed.wait() == 0, resumed.said
