"""Closed-form parts of R-CNN are fitted on the kept weights, for every way a training can end."""

import shutil

import pytest
import torch
from rich.console import Console

import danlu
from danlu.engine.checkpoint import read_state, read_weights, save_tensors

SMALL = {"model": "rcnn", "size": 64, "detect.search": "colours", "detect.proposals": 30, "detect.hidden": 16}
QUICK = {"batch_size": 16, "augment": "none", "precision": "fp32", "channels_last": False, "device": "cpu"}
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def stopped_run(drawn_coco, tmp_path_factory):
    """Stopped by its patience, so that its best weights are not its last."""
    out = tmp_path_factory.mktemp("runs") / "stopped"
    settings = {"epochs": 40, "lr": 0.01, "regularise.patience": 1, "detect.crop": 32, "keep_state": True}
    return danlu.train(drawn_coco, out=str(out), console=QUIET, **SMALL, **QUICK, **settings)


def weights(run, which):
    return read_weights(run.weights(which))[1]


def test_stopped_early_the_best_weights_are_settled_and_so_are_the_last(stopped_run):
    summary = stopped_run.summary
    assert "no better" in summary["stopped"]
    assert summary["best_epoch"] < summary["epochs"] < 40
    best, last = weights(stopped_run, "best"), weights(stopped_run, "last")
    assert best["settled"]
    assert last["settled"]
    assert best["machine_weight"].any(1).all()
    assert not torch.equal(best["machine_weight"], last["machine_weight"]), "each is fitted to its own features"
    learnt = read_state(stopped_run.state)["model"]
    assert not learnt["settled"], "a training that goes on does so from what it had learnt"
    assert torch.equal(learnt["dense.weight"], last["dense.weight"]), "what was learnt stays as it was"


def test_summary_describes_the_kept_weights(stopped_run):
    summary = stopped_run.summary
    again = danlu.evaluate(stopped_run.folder, part="val", device="cpu")["metrics"]["val"]
    assert summary["metrics"]["val"] == pytest.approx(again)
    (best,) = [row for row in stopped_run.record.of("epoch") if row["epoch"] == summary["best_epoch"]]
    assert again["mAP50"] != best["val.mAP50"], "which is how the softmax did"


def test_killed_while_fitting_closed_form_gives_equal_bits(stopped_run, tmp_path):
    """The best weights are fitted, the last not yet, and there is no summary: what a kill between the two leaves."""
    run = tmp_path / "run"
    shutil.copytree(stopped_run.folder, run)
    (run / "summary.json").unlink()
    signature, _ = read_weights(stopped_run.weights("last"))
    unsettled = read_state(stopped_run.state)["model"]
    save_tensors(run / "weights" / "last.safetensors", unsettled, signature)
    danlu.train(resume=run, console=QUIET)
    for which in ("best", "last"):
        ours, theirs = (folder / "weights" / f"{which}.safetensors" for folder in (run, stopped_run.folder))
        assert ours.read_bytes() == theirs.read_bytes()
