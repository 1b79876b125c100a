"""Checks before training: leaks, duplicates, blank images and broken models, and no findings for sound ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from danlu.doctor.static_checks import (
    BatchFit,
    CheckedSplit,
    examine_images,
    examine_labels,
    examine_model,
    hashes,
    pairs,
    thumbnails,
)


def images(count: int = 300, seed: int = 0) -> torch.Tensor:
    """Smooth random images, all different, uint8 (N, 3, 32, 32)."""
    rough = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return (nn.functional.interpolate(rough, 32, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def parts(count: int, held: int) -> CheckedSplit:
    index = torch.arange(count)
    return CheckedSplit(index[: count - held], index[count - held :], index[:0])


def codes(findings) -> dict[str, str]:
    return {finding.code: finding.severity for finding in findings}


def test_different_images_are_no_pairs() -> None:
    small = thumbnails(images())
    assert len(pairs(small, hashes(small))) == 0
    assert examine_images(images(), None, parts(300, 60), str) == []


@pytest.mark.parametrize("change", ["none", "brighter", "noise"])
def test_copies_across_the_split_are_a_leak(change: str) -> None:
    x = images()
    copies = x[:20].clone()
    if change == "brighter":
        copies = (copies.int() + 1).clamp(0, 255).to(torch.uint8)
    elif change == "noise":
        noise = torch.randint(-2, 3, copies.shape, generator=torch.Generator().manual_seed(1))
        copies = (copies.int() + noise).clamp(0, 255).to(torch.uint8)
    found = examine_images(torch.cat([x, copies]), None, parts(320, 20), lambda i: f"image {i}")
    leak = next(finding for finding in found if finding.code == "data.leak")
    assert leak.severity == "error"
    assert leak.evidence["pairs"] >= (20 if change == "none" else 14)
    assert "image 0 = image 300" in leak.cause or change != "none"


def test_copies_with_other_labels_are_duplicates() -> None:
    x = torch.cat([images(), images()[:10]])
    labels = torch.zeros(310, dtype=torch.int64)
    labels[300:] = 1
    found = examine_images(x, labels, parts(310, 0), str)
    assert codes(found) == {"data.duplicates": "warning"}
    assert found[0].evidence["conflicts"] == 10


def test_blank_images_are_named_and_no_leak() -> None:
    x = images()
    x[[3, 299]] = 128
    found = examine_images(x, None, parts(300, 60), lambda i: f"image {i}")
    assert codes(found) == {"data.degenerate": "note"}
    assert "image 3, image 299" in found[0].cause


def test_small_object_on_uniform_background_is_not_blank() -> None:
    """Nor is it where its grey is nearly the ground's; noise alone is blank."""
    x = torch.full((20, 3, 320, 320), 120, dtype=torch.uint8)
    x[1:, 0, 100:105, 60:70], x[1:, 1:, 100:105, 60:70] = 255, 0
    x[0] += torch.randint(-5, 6, x[0].shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = examine_images(x, None, parts(20, 4), lambda i: f"image {i}")
    assert [f.cause for f in found if f.code == "data.degenerate"] == ["1 of 20 images have a single value: image 0."]


def test_fractions_count_samples_not_pairs() -> None:
    x = images(40)
    x[20:38] = x[0]
    leak, copies = examine_images(x, None, parts(40, 10), str)
    assert leak.evidence["pairs"] > 10
    assert 0.2 < leak.evidence["fraction"] <= 0.8
    assert copies.evidence["pairs"] > 40
    assert copies.evidence["fraction"] == pytest.approx(19 / 40)


def test_uneven_and_missing_classes() -> None:
    targets = torch.tensor([0] * 100 + [1] * 5 + [0, 1, 2])
    found = codes(examine_labels(targets, parts(108, 3), ("ant", "bee", "cat")))
    assert found == {"data.imbalance": "warning", "data.split_shift": "error"}
    assert examine_labels(torch.arange(100) % 3, parts(100, 20), ("ant", "bee", "cat")) == []


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(32, 12, generator=generator), torch.randint(4, (32,), generator=generator)


def test_healthy_model_is_unchanged_without_findings() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 4))
    before = [value.clone() for value in model.state_dict().values()]
    state = torch.random.get_rng_state()
    assert examine_model(model, nn.functional.cross_entropy, *batch()) == []
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values()))
    assert torch.equal(state, torch.random.get_rng_state())


class Blind(nn.Module):
    """A model whose outputs do not depend on the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bias.expand(len(x), -1)


def test_a_fit_that_is_cut_short_is_not_judged() -> None:
    fit = BatchFit(seconds=0.0)
    assert examine_model(Blind(), nn.functional.cross_entropy, *batch(), fit=fit) == []
    assert not fit.judged
    whole = BatchFit()
    assert examine_model(Blind(), nn.functional.cross_entropy, *batch(), fit=whole)
    assert whole.judged


def test_large_first_outputs_unreached_parameters_and_a_model_that_cannot_learn() -> None:
    torch.manual_seed(0)
    large = nn.Linear(12, 4)
    nn.init.normal_(large.weight, std=5)
    assert "model.bad_init" in codes(examine_model(large, nn.functional.cross_entropy, *batch()))
    fitted_later = examine_model(large, nn.functional.cross_entropy, *batch(), judge_first_loss=False)
    assert "model.bad_init" not in codes(fitted_later)

    class Forgotten(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(12, 4), nn.Linear(12, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    found = examine_model(Forgotten(), nn.functional.cross_entropy, *batch())
    assert next(f for f in found if f.code == "model.unreached").evidence["names"] == "spare.weight, spare.bias"

    assert codes(examine_model(Blind(), nn.functional.cross_entropy, *batch())) == {"fit.not_learning": "warning"}


def test_chinese() -> None:
    x = torch.cat([images(), images()[:20]])
    found = examine_images(x, None, parts(320, 20), str, "zh")
    assert "图片" in found[0].title
    assert np.isfinite(found[0].evidence["fraction"])
