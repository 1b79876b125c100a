"""A training in Python leaves random states, settings of torch and environment as it found them."""

import os
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from rich.console import Console

import danlu


def state():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": (kind, keys.tolist(), *rest),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "gradients": torch.is_grad_enabled(),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
    }


@pytest.mark.parametrize("settings", [{}, {"data.folds": 2}, {"devices": 2}, {"augment": "strong"}], ids=str)
def test_nothing_of_the_caller_changes(settings, tmp_path):
    inputs = torch.rand(60, 1, 12, 12)
    targets = (inputs.mean((1, 2, 3)) > 0.5).long()
    assert danlu.train  # imported now: libraries set variables and filters at their import
    before = state()
    plain = {"model": "softmax", "epochs": 1, "device": "cpu", "keep_state": True, "console": Console(quiet=True)}
    if "augment" in settings:
        np.savez(tmp_path / "set.npz", x=(inputs * 255).byte().numpy(), y=targets.numpy())
    data = tmp_path / "set.npz" if "augment" in settings else (inputs, targets)
    danlu.train(data, out=str(tmp_path / "run"), **plain, **settings)
    assert {k: v for k, v in state().items() if v != before[k]} == {}
    if not settings:
        danlu.train(data, resume=tmp_path / "run", epochs=2, console=Console(quiet=True))
        assert {k: v for k, v in state().items() if v != before[k]} == {}


def test_state_is_kept_when_the_training_fails(tmp_path):
    inputs, targets = torch.rand(60, 4), torch.arange(60) % 2
    assert danlu.train  # imported now: libraries set variables and filters at their import
    before = state()

    def broken(outputs, targets):
        torch.rand(3)
        raise ArithmeticError("no loss")

    with pytest.raises(Exception, match="no loss"):
        danlu.train((inputs, targets), loss=broken, out=str(tmp_path / "run"), epochs=1, console=Console(quiet=True))
    assert {k: v for k, v in state().items() if v != before[k]} == {}


def test_the_first_use_of_danlu_draws_no_random_numbers():
    code = """
import random
import danlu
random.seed(3)
before = random.getstate()
danlu.train, danlu.watch, danlu.predict, danlu.tune
assert random.getstate() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
