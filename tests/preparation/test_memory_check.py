"""A network or batch that cannot fit is refused by the name of the setting that is too large."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from danlu.config import Config, ResolvedConfig, with_values
from danlu.data import memory
from danlu.preparation.memory_check import check_fits
from danlu.refuse import Refusal
from danlu.run.signature import Signature

CPU = torch.device("cpu")
CLASSES = tuple("abcdefghij")


def asked(**settings: object) -> ResolvedConfig:
    """Only the settings that the check reads are there."""
    config = with_values(Config(), {"optimizer": "adam", "batch_size": 32, **settings})
    return dataclasses.replace(config)  # type: ignore[return-value]


def signature(model: str, size: int = 8, **options: object) -> Signature:
    image = {"channels": 1, "size": size, "canvas": size, "mean": (0.0,), "std": (1.0,)}
    return Signature(task="classify", model=model, options=options, classes=CLASSES, **image)  # type: ignore[arg-type]


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 30)


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize(
    ("model", "size", "options", "batch_size", "begins"),
    [
        (
            "mlp",
            8,
            {"width": (90_000, 90_000)},
            32,
            "--model.width must fit in 1,024 MiB of free memory, got 90000,90000",
        ),
        ("mlp", 2_048, {"width": (4_096,)}, 32, "--size must fit in 1,024 MiB of free memory, got 2048: 17,1"),
        ("softmax", 1_024, {}, 1_000, "--batch-size must fit in 1,024 MiB of free memory, got 1000: 1,000 images"),
        ("softmax", 16_384, {}, 1, "--size must fit in 1,024 MiB of free memory, got 16384: "),
    ],
)
def test_the_setting_that_is_too_large_is_named(
    model: str, size: int, options: dict[str, object], batch_size: int, begins: str
) -> None:
    with pytest.raises(Refusal) as refused:
        check_fits(asked(batch_size=batch_size, **{"model.name": model}), signature(model, size, **options), CPU)
    assert str(refused.value).startswith(begins)


@pytest.mark.usefixtures("small_machine")
def test_parameters_are_counted_exactly() -> None:
    with pytest.raises(Refusal) as refused:
        check_fits(asked(**{"model.name": "mlp"}), signature("mlp", 8, width=(20_000, 20_000)), CPU)
    parameters = 64 * 20_000 + 20_000 * 20_000 + 20_000 * 10 + 2 * 20_000 + 10
    # weights, gradients and two moments of Adam, 4 bytes each
    said = f"{parameters:,} parameters in training take {parameters * 16 / 2**20:,.0f} MiB"
    assert str(refused.value).endswith(said)


@pytest.mark.usefixtures("small_machine")
def test_what_fits_is_trained() -> None:
    check_fits(asked(**{"model.name": "mlp"}), signature("mlp", 8, width=(5_000, 5_000)), CPU)
    check_fits(asked(**{"model.name": "small-cnn"}), signature("small-cnn", 32), CPU)
