"""Two processes equal one with the same global batch, and an error in one of them is reported once."""

import json
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

MLP = shlex.split("train digits --model mlp --precision fp32 --channels-last false --device cpu --augment light")
# 91 samples in batches of 15, shared 8 to 7, leave one for the last, which the second
# process has to sit out; 4 batches make a step.
ODD = [*MLP, *shlex.split("--data.limit 91 --batch-size 15 --optim.accumulate 4 --optimizer sgd --lr 0.1 --epochs 4")]
EVEN = [*MLP, *shlex.split("--data.limit 300 --batch-size 32 --optim.ema 0.9 --optimizer momentum --epochs 3")]
ONE_SHORT = [*MLP, *shlex.split("--data.limit 110 --batch-size 15 --data.last carry --optimizer sgd --epochs 4")]
LENET = [*MLP, *shlex.split("--model lenet --size 28 --data.limit 101 --batch-size 25 --epochs 3")]
NAMES = {"loss", "accuracy", "top5", "f1", "ece", "lr"}


def figures(run) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k.split(".")[-1] in NAMES} for row in rows if row["kind"] == "epoch"]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(ODD, id="odd"),
        pytest.param(EVEN, id="even", marks=pytest.mark.slow),
        pytest.param(ONE_SHORT, id="carry", marks=pytest.mark.slow),
        pytest.param(LENET, id="lenet", marks=pytest.mark.slow),
    ],
)
def test_two_processes_give_what_one_gives(settings, danlu, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    commands = [danlu(*settings, "--out", one), danlu(*settings, "--devices", 2, "--out", two)]
    for command in commands:
        assert command.wait() == 0, command.said
    rows = figures(one)
    assert len(rows) == int(settings[-1])
    for alone, shared in zip(rows, figures(two), strict=True):
        assert shared == pytest.approx(alone, abs=1e-5)
    summaries = [json.loads((run / "summary.json").read_text())["metrics"] for run in (one, two)]
    for split in ("train", "val", "test"):
        assert summaries[1][split] == pytest.approx(summaries[0][split], abs=1e-5)
    assert (two / "log.txt").read_text().count("epoch 1/") == 1  # said by one of them


@pytest.mark.slow
def test_three_processes_as_well(danlu, tmp_path):
    one, three = tmp_path / "one", tmp_path / "three"
    assert danlu(*ODD, "--out", one).wait() == 0
    assert danlu(*ODD, "--devices", 3, "--out", three).wait() == 0
    for alone, shared in zip(figures(one), figures(three), strict=True):
        assert shared == pytest.approx(alone, abs=1e-5)


LONG = [*MLP, *shlex.split("--model.dropout 0.3 --batch-size 8 --optim.accumulate 2 --epochs 3 --devices 2")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, result):
    run = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run([sys.executable, "-m", "danlu.cli", *LONG, "--log-every", "5", "--out", run], check=True)
    return result(run)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_inside_an_epoch_they_go_on_bit_for_bit(number, danlu, result, whole, lines, tmp_path):
    """A state is due after every step when they are killed, and only then."""
    run = tmp_path / "run"
    minutes = 1e-9 if number == signal.SIGKILL else 60
    command = danlu(*LONG, "--log-every", 5, "--save-every", minutes, "--out", run)
    command.until(lambda: lines(run / "metrics.jsonl") >= 26)
    command.signal(number)
    assert command.wait() == (-number if number == signal.SIGKILL else 128 + number)
    state = torch.load(run / "state.pt", weights_only=True)
    assert 0 < state["progress"]["batch"] < whole["rows"][-1]["step"]
    (sums, samples), *none = state["others"]
    assert not none
    assert samples == 4 * state["progress"]["batch"] == state["progress"]["samples"]
    assert sums["loss"] != state["progress"]["totals"]["loss"]
    time.sleep(1)  # the children find their parent gone
    resumed = danlu("train", "--resume", run)
    assert resumed.wait() == 0, resumed.said
    assert result(run) == whole


@pytest.mark.slow
def test_failure_in_a_process_is_one_sentence(danlu, tmp_path):
    command = danlu(*ODD, "--lr", "1e30", "--optimizer", "sgd", "--devices", 2, "--out", tmp_path / "run")
    assert command.wait() == 1
    assert "Traceback" not in command.said
    assert command.said.count("danlu: the training loss is") == 1


@pytest.mark.slow
def test_occupied_port_is_reported(danlu, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        before = f"os.environ['MASTER_PORT'] = '{port}'"
        command = danlu(*ODD, "--devices", 2, "--out", tmp_path / "run", before=before)
        assert command.wait() == 1
    assert "Traceback" not in command.said
    assert f"danlu: port {port} of the processes is used" in command.said


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="inductor needs a compiler")
@pytest.mark.parametrize("devices", [1, 2])
def test_compiled_network_trains_equally_and_is_observed(devices, danlu, tmp_path):
    """The doctor's hooks lie outside: compiled with the network they made it five times slower."""
    runs = {compiled: tmp_path / compiled for compiled in ("true", "false")}
    for compiled, run in runs.items():
        command = danlu(*ONE_SHORT, "--devices", devices, "--compile", compiled, "--out", run)
        assert command.wait() == 0, command.said
    for alone, compiled in zip(figures(runs["false"]), figures(runs["true"]), strict=True):
        assert compiled == pytest.approx(alone, abs=1e-3)
    rows = [json.loads(line) for line in (runs["true"] / "doctor.jsonl").read_text().splitlines()]
    assert "layers" in {row["where"] for row in rows if row["name"] == "run.unseen"}
    assert "passes" not in {row["where"] for row in rows if row["name"] == "run.unseen"}
    assert any(row["name"] == "gradient.norm" for row in rows)
    assert not [row for row in json.loads((runs["true"] / "findings.json").read_text()) if row["severity"] != "note"]
