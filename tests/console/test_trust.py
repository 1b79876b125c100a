"""When the confidence of predictions is not to be trusted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from danlu.console.trust import trust_notes
from danlu.inference.prediction import Prediction
from danlu.message import speaking


def summary(ece: float | None, samples: int, accuracy: float = 0.9):
    return SimpleNamespace(
        metrics=SimpleNamespace(val=SimpleNamespace(ece=ece, accuracy=accuracy)),
        data=SimpleNamespace(counts={"val": samples}),
    )


def predictions(*confidences: float) -> list[Prediction]:
    return [Prediction(path=f"{i}.png", label="a", confidence=value) for i, value in enumerate(confidences)]


@pytest.mark.parametrize(
    ("ece", "samples", "confidences", "said"),
    [
        (0.02, 500, (0.9, 0.8), []),
        (0.2, 500, (0.9, 0.8), ["20% off the accuracy on the 500 validation samples"]),
        (0.02, 27, (0.9, 0.8), ["only 27 validation samples"]),
        (0.02, 500, (0.9, 0.3), ["below 50% for 1 of 2"]),
        (0.2, 500, (0.2, 0.3), ["20% off", "below 50% for 2 of 2"]),
        (None, 500, (0.9,), []),
        (0.2, 500, (), []),
    ],
)
def test_notes(ece: float | None, samples: int, confidences: tuple[float, ...], said: list[str]) -> None:
    notes = trust_notes(predictions(*confidences), summary(ece, samples))
    assert len(notes) == len(said)
    for note, words in zip(notes, said):
        assert words in note
        with speaking("zh"):
            assert str(note).startswith("注意：")


def test_a_folder_without_a_summary_has_no_calibration() -> None:
    assert trust_notes(predictions(0.9), None) == []


def test_low_confidence_of_a_weak_network_is_not_blamed_on_the_data() -> None:
    assert trust_notes(predictions(0.2, 0.3), summary(0.02, 500, accuracy=0.4)) == []
