"""Full disks, unwritable paths, locked runs and missing GPUs: one sentence, and no data lost."""

import shlex
import shutil
import signal

import pytest
import torch

from danlu.engine.checkpoint import read_state, read_weights
from danlu.run.folder import Run

PLAIN = shlex.split("train digits --precision fp32 --channels-last false --device cpu --model mlp --epochs 4")
# No file may grow beyond this number of bytes: the kernel's error is that of a full disk with another name.
LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"
KILLED_IN_THE_THIRD_EPOCH = """
import os
import danlu.engine.loop as loop
update_best = loop._update_best
def kill(plan, progress, metrics):
    if progress.epoch == 2:
        os.kill(os.getpid(), 9)
    return update_best(plan, progress, metrics)
loop._update_best = kill
"""


def one_sentence(said: str) -> str:
    """The last line, which is all that was said of the failure."""
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert last.startswith("danlu: ")
    return last


@pytest.fixture(scope="module")
def whole(danlu_of_module, tmp_path_factory):
    """Folder of an undisturbed run."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert danlu_of_module(*PLAIN, "--out", run).wait() == 0
    return run


@pytest.fixture(scope="module")
def killed(danlu_of_module, tmp_path_factory):
    """Folder of the same run, killed in its third epoch; to be copied."""
    run = tmp_path_factory.mktemp("killed") / "run"
    first = danlu_of_module(*PLAIN, "--out", run, before=KILLED_IN_THE_THIRD_EPOCH)
    assert first.wait() == -signal.SIGKILL
    return run


@pytest.mark.parametrize("room", [90_000, 2_000, 200])
def test_a_disk_that_fills_up_loses_nothing_that_was_saved(room, danlu, result, whole, killed, tmp_path):
    """Weights (77 kB) fit in the first limit and the state (236 kB) does not; then no weights; then no record."""
    run = tmp_path / "run"
    shutil.copytree(killed, run)
    state = (run / "state.pt").read_bytes()
    weights = (run / "weights" / "last.safetensors").read_bytes()
    failed = danlu("train", "--resume", run, before=LIMIT.format(room))
    assert failed.wait() == 1, failed.said
    assert "could not be written: file too large" in one_sentence(failed.said)
    assert (run / "state.pt").read_bytes() == state
    assert read_state(run / "state.pt")["progress"]["epoch"] == 2
    if room < len(weights):
        assert (run / "weights" / "last.safetensors").read_bytes() == weights
    read_weights(run / "weights" / "best.safetensors")
    assert not list(run.rglob(".state.pt.part"))
    resumed = danlu("train", "--resume", run)
    assert resumed.wait() == 0, resumed.said
    assert result(run) == result(whole)


def test_unwritable_path(danlu):
    command = danlu(*PLAIN, "--out", "/proc/danlu")
    assert command.wait() == 2
    assert "--out must be a folder that can be written, got /proc/danlu" in one_sentence(command.said)


def test_a_run_in_use_is_left_alone(danlu, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    holder = Run.open(run)
    holder.lock()
    try:
        command = danlu("train", "--resume", run, "--epochs", 9)
        assert command.wait() == 2
        assert f"run folder {run} is in use by another process" in one_sentence(command.said)
        other = danlu(*PLAIN, "--out", run)
        assert other.wait() == 2
        assert "is in use by another process" in one_sentence(other.said)
    finally:
        holder.unlock()
    assert danlu("train", "--resume", run).wait() == 0


def test_non_empty_folder_is_not_overwritten(danlu, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    command = danlu(*PLAIN, "--out", tmp_path)
    assert command.wait() == 2
    assert "--out must be a new or empty folder" in one_sentence(command.said)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_missing_gpu_is_refused_first(device, danlu, tmp_path):
    command = danlu(*PLAIN, "--device", device, "--out", tmp_path / "run")
    assert command.wait() == 2
    assert f"--device must be one that this machine has, got {device!r}" in one_sentence(command.said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("cut", [0, 100, 5000])
def test_a_damaged_checkpoint_is_refused(cut, danlu, tmp_path):
    run = tmp_path / "run"
    assert danlu(*PLAIN, "--epochs", 1, "--keep-state", "--out", run).wait() == 0
    (run / "state.pt").write_bytes((run / "state.pt").read_bytes()[:cut])
    command = danlu("train", "--resume", run, "--epochs", 2)
    assert command.wait() == 2
    assert "state.pt is damaged and cannot be resumed from" in one_sentence(command.said)
