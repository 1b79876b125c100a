"""Temperature scaling against scipy's minimum and against logits whose temperature is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from danlu.metrics.calibration import MAX_TEMPERATURE, MIN_SAMPLES, MIN_TEMPERATURE, fit_temperature
from danlu.metrics.classification import expected_calibration_error


def drawn(samples: int, classes: int, temperature: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are `temperature` times those that the targets are drawn by."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 2, (samples, classes))
    targets = (true + rng.gumbel(size=true.shape)).argmax(1)  # a draw from softmax(true)
    return torch.from_numpy(true * temperature).float(), torch.from_numpy(targets)


def smoothed(logits: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    """Platt's likelihood, written with scipy."""
    log_p = log_softmax(logits / temperature, axis=1)
    right = log_p[np.arange(len(targets)), targets]
    others = np.where(np.eye(logits.shape[1], dtype=bool)[targets], -np.inf, log_p)
    n = len(targets)
    return -float(((n + 1) / (n + 2) * right + 1 / (n + 2) * logsumexp(others, axis=1)).mean())


@pytest.mark.parametrize(("samples", "classes", "temperature"), [(60, 3, 1.0), (400, 10, 2.5), (200, 2, 0.4)])
def test_the_minimum_is_that_of_scipy(samples: int, classes: int, temperature: float) -> None:
    logits, targets = drawn(samples, classes, temperature)
    x, y = logits.double().numpy(), targets.numpy()
    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    wanted = minimize_scalar(lambda t: smoothed(x, y, np.exp(t)), bounds=bounds, options={"xatol": 1e-9})
    assert fit_temperature(logits, targets) == pytest.approx(np.exp(wanted.x), rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found_and_calibrates(temperature: float) -> None:
    logits, targets = drawn(20_000, 5, temperature)
    fitted = fit_temperature(logits, targets)
    assert fitted == pytest.approx(temperature, rel=0.03)
    fresh, truth = drawn(20_000, 5, temperature, seed=1)
    assert expected_calibration_error((fresh / fitted).softmax(1), truth) < 0.015
    if temperature != 1:
        assert expected_calibration_error(fresh.softmax(1), truth) > 0.05
    assert torch.equal((fresh / fitted).argmax(1), fresh.argmax(1))


def test_all_right_asks_for_the_confidence_of_the_rule_of_succession() -> None:
    targets = torch.arange(30) % 3
    logits = 4.0 * torch.nn.functional.one_hot(targets, 3).float()
    confidence = (logits / fit_temperature(logits, targets)).softmax(1).amax(1)
    assert confidence[0].item() == pytest.approx(31 / 32, abs=1e-4)


def test_one_output_is_the_same_as_two() -> None:
    logits, targets = drawn(300, 2, 2.0)
    single = (logits[:, 1] - logits[:, 0])[:, None]
    assert fit_temperature(single, targets) == pytest.approx(fit_temperature(logits, targets), rel=1e-5)


def test_too_few_samples_and_infinite_outputs_stay_as_they_are() -> None:
    logits, targets = drawn(MIN_SAMPLES - 1, 3, 5.0)
    assert fit_temperature(logits, targets) == 1.0
    logits, targets = drawn(100, 3, 5.0)
    logits[3, 1] = torch.nan
    assert fit_temperature(logits, targets) == 1.0
