"""`danlu doctor DATA` lists what it checked and what it did not judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import danlu
from danlu.cli import main


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise of two brightnesses in class folders, large enough to be fine-tuned."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for kind, level in (("dark", 60), ("light", 180)):
        (root / kind).mkdir()
        for i in range(12):
            pixels = rng.integers(level - 50, level + 50, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / kind / f"{i}.png")
    return root


def test_a_pretrained_network_has_no_first_loss_to_judge(photographs: Path) -> None:
    found = danlu.diagnose(str(photographs))
    assert found.examined is not None
    assert [finding.code for finding in found.findings if finding.code == "model.bad_init"] == []
    assert any("first loss" in sentence for sentence in found.examined["not_judged"])
    assert any(sentence.startswith("24 images") for sentence in found.examined["checked"])


def test_the_first_loss_of_random_weights_is_checked(photographs: Path) -> None:
    found = danlu.diagnose(str(photographs), pretrained="none")
    assert found.examined is not None
    assert any("first loss" in sentence for sentence in found.examined["checked"])


def test_the_list_is_printed(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(photographs)]) == 0
    text = capsys.readouterr().out
    assert text.index("checked:") < text.index("24 labels") < text.index("not judged:")
