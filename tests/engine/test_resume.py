"""A run killed at any moment resumes to the same weights and metrics bit for bit."""

import random
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
import torch

PLAIN = shlex.split("--precision fp32 --channels-last false --device cpu --log-every 5")
# Together these hold every kind of state: moments, averages, plateau, half-finished groups of batches, carried samples,
# dropout's and augmentation's random numbers, batch norm's buffers. A checkpoint is due after every step.
MLP = [
    *shlex.split("train digits --model mlp --model.width 128,64 --model.dropout 0.3 --regularise.dropout-when early"),
    *shlex.split("--data.limit 500 --epochs 4 --batch-size 28 --optim.accumulate 3 --data.last carry --augment strong"),
    *shlex.split(
        "--optimizer adamw --lr 0.1 --optim.ema 0.9 --schedule plateau --schedule.patience 1 --save-every 1e-9"
    ),
    *PLAIN,
    *shlex.split("--log-every 1"),
]
CNN = [
    *shlex.split("train digits --model small-cnn --epochs 3 --data.limit 300 --batch-size 32 --data.last drop"),
    *shlex.split("--data.balance --optimizer nesterov --lr 0.05 --optim.clip-norm 1 --optim.ema 0.9"),
    *shlex.split("--schedule one-cycle --schedule.warmup 0.5 --save-every 1e-9"),
    *PLAIN,
]
# A file takes long enough to write for a busy machine to notice.
SLOW_DISK = (
    "import pathlib, time; r = pathlib.Path.replace; pathlib.Path.replace = lambda *a: (time.sleep(0.02), r(*a))"
)
SETTINGS = {"mlp": MLP, "cnn": CNN}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """Name of the settings -> folder of the uninterrupted run, trained once, as a user starts it; to be read only."""
    found = {}

    def of(name: str):
        if name not in found:
            found[name] = tmp_path_factory.mktemp("whole") / name
            command = [sys.executable, "-m", "danlu.cli", *SETTINGS[name], "--out", found[name]]
            subprocess.run(command, check=True, capture_output=True)
        return found[name]

    return of


@pytest.fixture(scope="module")
def whole(whole_run, result):
    """Name of the settings -> result of the uninterrupted run."""
    return lambda name: result(whole_run(name))


def resumed(danlu, run):
    command = danlu("train", "--resume", run)
    assert command.wait() == 0, command.said


@pytest.mark.parametrize(("name", "row"), [("mlp", 1), ("mlp", 12), ("cnn", 8)])
def test_killed_after_so_many_rows(name, row, danlu, result, whole, lines, tmp_path):
    run = tmp_path / "run"
    command = danlu(*SETTINGS[name], "--out", run, before=SLOW_DISK)
    command.until(lambda: lines(run / "metrics.jsonl") >= row)
    command.kill()
    assert command.wait() == -signal.SIGKILL
    assert not (run / "summary.json").exists()
    resumed(danlu, run)
    assert result(run) == whole(name)


def test_killed_while_a_checkpoint_is_written_and_once_more(danlu, result, whole, lines, tmp_path):
    run = tmp_path / "run"
    command = danlu(*MLP, "--out", run, before=SLOW_DISK)
    caught = 0
    for row in (4, 9, 14):
        command.until(lambda row=row: lines(run / "metrics.jsonl") >= row)
        command.until((run / ".state.pt.part").exists)
        command.kill()
        assert command.wait() == -signal.SIGKILL
        caught += (run / ".state.pt.part").exists()
        command = danlu("train", "--resume", run, before=SLOW_DISK)
    assert command.wait() == 0, command.said
    assert caught > 0
    assert result(run) == whole("mlp")


def test_killed_before_the_first_checkpoint(danlu, result, whole, tmp_path):
    run = tmp_path / "run"
    command = danlu(*MLP, "--out", run)
    command.until((run / "config.yaml").exists)
    command.kill()
    (run / "state.pt").unlink(missing_ok=True)
    resumed(danlu, run)
    assert result(run) == whole("mlp")


def test_killed_after_training_while_the_run_is_evaluated(danlu, result, whole, lines, tmp_path):
    run = tmp_path / "run"
    command = danlu(*MLP, "--out", run, before=SLOW_DISK)
    command.until(lambda: lines(run / "metrics.jsonl") >= len(whole("mlp")["rows"]))
    command.kill()
    resumed(danlu, run)
    assert result(run) == whole("mlp")


def test_a_finished_run_is_left_alone(danlu, result, whole, whole_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole_run("mlp"), run)
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*") if file.name != ".lock"}
    command = danlu("train", "--resume", run)
    assert command.wait() == 0
    assert "has finished already" in command.said
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert result(run) == whole("mlp")


def test_a_finished_run_keeps_its_state_on_request_only(danlu, tmp_path):
    run = tmp_path / "run"
    assert danlu(*MLP, "--epochs", 1, "--out", run).wait() == 0
    assert not (run / "state.pt").exists()
    command = danlu("train", "--resume", run, "--epochs", 2)
    assert command.wait() == 2
    assert "without --keep-state" in command.said
    assert f"--init {run}" in command.said


def test_the_config_of_a_run_repeats_it(danlu, result, whole_run, tmp_path):
    first, again = whole_run("cnn"), tmp_path / "again"
    command = danlu("train", "--config", first / "config.yaml", "--out", again)
    assert command.wait() == 0, command.said
    assert result(first) == result(again)
    assert (first / "config.yaml").read_text() == (again / "config.yaml").read_text()


def test_a_refused_resume_changes_nothing(danlu, tmp_path):
    run = tmp_path / "run"
    assert danlu(*MLP, "--epochs", 1, "--keep-state", "--out", run).wait() == 0
    before = (run / "config.yaml").read_text()
    whole = (run / "state.pt").read_bytes()
    state = torch.load(run / "state.pt", weights_only=True)
    del state["optimizer"]["param_groups"][0]  # read without complaint, and does not fit
    torch.save(state, run / "state.pt")
    command = danlu("train", "--resume", run, "--epochs", 3)
    assert command.wait() == 2
    assert "does not fit config.yaml" in command.said
    (run / "state.pt").write_bytes(whole[: len(whole) // 2])
    assert danlu("train", "--resume", run, "--epochs", 3).wait() == 2
    assert (run / "config.yaml").read_text() == before
    command = danlu("train", "--resume", run)
    assert command.wait() == 0
    assert "has finished already" in command.said


def test_killed_when_just_resumed_for_more_epochs(danlu, result, tmp_path):
    run, twin = tmp_path / "run", tmp_path / "twin"
    assert danlu(*CNN, "--epochs", 1, "--keep-state", "--out", run).wait() == 0
    shutil.copytree(run, twin)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("epochs: 1\n", "epochs: 2\n"))  # all that was done
    resumed(danlu, run)
    assert danlu("train", "--resume", twin, "--epochs", 2).wait() == 0
    assert result(run) == result(twin)


def test_resuming_with_changed_data_is_refused(danlu, tmp_path):
    table = tmp_path / "table.csv"
    rows = [f"{i},{(i * 7) % 11},{(i * 3) % 5}" for i in range(60)]
    table.write_text("\n".join(["a,b,y", *rows]))
    run = tmp_path / "run"
    argv = [
        "train",
        table,
        "--target",
        "y",
        "--task",
        "regress",
        "--epochs",
        2,
        "--model",
        "linear",
        "--keep-state",
        "--out",
        run,
    ]
    assert danlu(*argv).wait() == 0
    table.write_text("\n".join(["a,b,y", *rows[:-1], "1,2,3"]))
    command = danlu("train", "--resume", run, "--epochs", 3)
    assert command.wait() == 2
    assert "the data has changed" in command.said
    assert "Traceback" not in command.said


def test_only_what_does_not_change_the_numbers_may_change(danlu, tmp_path):
    run = tmp_path / "run"
    assert danlu(*MLP, "--epochs", 1, "--out", run).wait() == 0
    command = danlu("train", "--resume", run, "--lr", 0.5)
    assert command.wait() == 2
    assert "--lr must be omitted with --resume, which keeps the run's" in command.said


def test_more_epochs_count_as_second_evaluation_on_the_test_set(danlu, result, tmp_path):
    run = tmp_path / "run"
    assert danlu(*MLP, "--epochs", 1, "--keep-state", "--out", run).wait() == 0
    assert result(run)["test_looks"] == 1
    assert danlu("train", "--resume", run, "--epochs", 2).wait() == 0
    after = result(run)
    assert after["epochs"] == 2
    assert after["test_looks"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment(name, seed, danlu, result, whole, tmp_path):
    """Up to four kills at random moments, from the first import to the last page."""
    moments = random.Random(seed)
    run = tmp_path / "run"
    command = danlu(*SETTINGS[name], "--out", run)
    command.until((run / "config.yaml").exists)
    for _ in range(4):
        command.process.join(moments.uniform(0, 1.2))
        command.kill()
        command = danlu("train", "--resume", run)
    assert command.wait() == 0, command.said
    assert result(run) == whole(name)
