import shutil

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import danlu
from danlu.config import ResolvedConfig, dump_yaml, with_values


def test_a_run_is_the_same_after_loading(digits_run):
    loaded = danlu.load(digits_run.folder)
    assert loaded.summary == digits_run.summary
    assert loaded.config == digits_run.config
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(loaded.model(x), digits_run.model(x))
    assert not loaded.model.training
    image = load_digits().images[0].astype(np.uint8) * 15
    assert loaded.predict(image) == digits_run.predict(image)


def test_the_config_of_a_run_is_complete(digits_run, tmp_path):
    assert isinstance(digits_run.config, ResolvedConfig)
    shutil.copytree(digits_run.folder, tmp_path / "edited")
    run = danlu.load(tmp_path / "edited")
    run.write_text("config.yaml", dump_yaml(with_values(run.config, {"optim.lr": None})))
    with pytest.raises(danlu.Refusal, match=r"config\.yaml was edited: .* optim\.lr is open"):
        run.evaluate()


def test_the_model_stays_as_it_is_whatever_is_done_with_the_run(coloured_run, tmp_path):
    shutil.copytree(coloured_run.folder, tmp_path / "run")
    run = danlu.load(tmp_path / "run")
    run.write_text("config.yaml", dump_yaml(with_values(run.config, {"channels_last": True})))
    assert run.evaluate(part="val")["metrics"]["val"]["accuracy"] == 1
    run.predict(np.zeros((16, 16, 3), np.uint8))
    assert any(weight.ndim == 4 and weight.shape[1] > 1 for weight in run.model.parameters())
    assert all(weight.is_contiguous() and weight.device.type == "cpu" for weight in run.model.parameters())


@pytest.mark.parametrize("which", ["best", "last"])
def test_both_weights_can_be_loaded(which, digits_run):
    assert danlu.load(digits_run.name, which).weights_used == which


def test_wrong_runs_and_weights_are_refused(digits_run, tmp_path):
    with pytest.raises(danlu.Refusal, match="did you mean 'best'"):
        danlu.load(digits_run.folder, "bets")
    near = digits_run.folder.with_name("digit")
    with pytest.raises(danlu.Refusal, match=f"did you mean '{digits_run.folder}'"):
        danlu.load(near)
    shutil.copytree(digits_run.folder, tmp_path / "cut")
    file = tmp_path / "cut" / "weights" / "best.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(danlu.Refusal, match="is damaged"):
        danlu.load(tmp_path / "cut")
    file.unlink()
    with pytest.raises(danlu.Refusal, match=r"is missing .*cut/config.yaml` trains it again"):
        danlu.load(tmp_path / "cut")
    (tmp_path / "cut" / "summary.json").unlink()
    with pytest.raises(danlu.Refusal, match="the run has not finished its first epoch"):
        danlu.load(tmp_path / "cut")


def test_weights_of_another_network_are_refused(digits_run, coloured_run, tmp_path):
    """The signature rides with the weights, so swapped files speak for themselves."""
    shutil.copytree(digits_run.folder, tmp_path / "swapped")
    shutil.copyfile(coloured_run.weights(), tmp_path / "swapped" / "weights" / "best.safetensors")
    assert danlu.load(tmp_path / "swapped").signature.classes == ("blue", "green", "red")
