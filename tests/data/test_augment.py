"""Augmentation of whole batches: reproducibility, several processes, mixing, presets, evaluation."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from danlu.config import AugmentConfig
from danlu.data.augmentation.augment import Augment, Normalise, views
from danlu.data.augmentation.presets import PRESETS, resolve
from danlu.refuse import Refusal

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
FULL = AugmentConfig("none", "both", 2, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, rotate=20, scale=0.1)
FULL = dataclasses.replace(FULL, shear=5, translate=0.1, noise=0.1, erase=0.5, mixup=0.4, cutmix=1.0)


def images(n: int, channels: int = 3, side: int = 16) -> torch.Tensor:
    return torch.randint(
        0, 256, (n, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def build(config: AugmentConfig, size: int = 16, channels: int = 3, classes: int = 5) -> Augment:
    return Augment(config, size=size, channels=channels, classes=classes, mean=MEAN[:channels], std=STD[:channels])


def rng(batch: int = 0) -> np.random.Generator:
    return np.random.default_rng([7, 0, batch])


SETTINGS = {
    "crop and flip": AugmentConfig("light"),
    "random resized crop": AugmentConfig("none", area=(0.3, 1.0), flip="lr"),
    "strong": AugmentConfig("strong"),
    "everything": FULL,
}


@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
def test_the_same_generator_gives_the_same_batch_and_another_gives_another(config):
    source, index, labels = images(50), torch.arange(10, 42), torch.arange(32) % 5
    augment = build(config)
    first, again, other = (augment(source, index, labels, augment.draw(rng(b), 32)) for b in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (32, 3, 16, 16)
    assert first[0].dtype == torch.float32
    assert first[0].isfinite().all()


@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("cuts", [(0, 16, 32), (0, 10, 20, 32)])
def test_processes_that_share_a_batch_see_what_one_would(config, cuts):
    source, index, labels = images(50), torch.arange(10, 42), torch.arange(32) % 5
    augment = build(config)
    draws = augment.draw(rng(), 32)
    whole = augment(source, index, labels, draws)
    parts = [augment(source, index[a:b], labels[a:b], draws.rows(slice(a, b))) for a, b in pairwise(cuts)]
    assert torch.allclose(torch.cat([p for p, _ in parts]), whole[0], atol=1e-5)
    assert torch.allclose(torch.cat([t for _, t in parts]).float(), whole[1].float(), atol=1e-6)


@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
def test_decoded_batch_equals_the_batch_in_memory(config):
    source, index, labels = images(50), torch.tensor([3, 3, 49, 0]), torch.arange(4)
    augment = build(config)
    draws = augment.draw(rng(), 4)
    kept = source.clone()
    assert torch.equal(augment(source, index, labels, draws)[0], augment(source[index], None, labels, draws)[0])
    assert torch.equal(source, kept)  # nothing is written into the set


def test_one_setting_leaves_the_draws_of_the_others():
    with_flip, without = build(AugmentConfig("none", "lr", 2)), build(AugmentConfig("none", "none", 2))
    assert torch.equal(with_flip.draw(rng(), 8).of("pad"), without.draw(rng(), 8).of("pad"))


def test_augmented_values_stay_in_the_range_of_images():
    augment = build(dataclasses.replace(FULL, noise=0.0, mixup=0.0, cutmix=0.0, erase=0.0))
    got, _ = augment(images(64), None, torch.zeros(64).long(), augment.draw(rng(), 64))
    shown = got * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert shown.min() >= -1e-5
    assert shown.max() <= 1 + 1e-5


def test_without_draws_or_settings_nothing_is_augmented():
    source, labels = images(6), torch.arange(6) % 5
    evaluation = Normalise(size=16, mean=MEAN, std=STD)
    wanted = torch.stack([tv.normalize(p.float() / 255, MEAN, STD) for p in source])
    assert torch.allclose(evaluation(source, None, labels)[0], wanted, atol=1e-5)
    assert torch.equal(build(FULL)(source, None, labels, None)[0], evaluation(source, None, labels)[0])
    nothing = build(AugmentConfig("none"))
    got, targets = nothing(source, None, labels, nothing.draw(rng(), 6))
    assert torch.equal(got, evaluation(source, None, labels)[0])
    assert torch.equal(targets, labels)
    assert evaluation.draw(rng(), 6) is None
    assert torch.equal(evaluation.undo(got), source)


def test_evaluation_crops_large_images_and_resizes_small_ones():
    large = images(2, 3, 128)
    got, _ = Normalise(size=112, mean=MEAN, std=STD)(large, None, torch.zeros(2))
    wanted = tv.normalize(tv.center_crop(large, [112, 112]) / 255, MEAN, STD)
    assert torch.allclose(got, wanted, atol=1e-5)
    small = images(2, 3, 40)
    got, _ = Normalise(size=20, mean=MEAN, std=STD)(small, None, torch.zeros(2))
    wanted = tv.normalize(tv.resize(small.float(), [20, 20], antialias=True) / 255, MEAN, STD)
    assert torch.allclose(got, wanted, atol=1e-4)


def test_a_channel_without_variation_is_only_centred():
    got, _ = Normalise(size=4, mean=[0.2], std=[0.0])(
        torch.full((1, 1, 4, 4), 51, dtype=torch.uint8), None, torch.zeros(1)
    )
    assert got.abs().max() < 1e-6


def test_mixup_blends_image_and_label_by_the_same_ratio():
    source, labels = images(8), torch.arange(8) % 5
    augment = build(AugmentConfig("none", mixup=0.5))
    draws = augment.draw(rng(), 8)
    got, targets = augment(source, None, labels, draws)
    plain = augment.normalise(source, None, labels)[0]
    assert torch.allclose(targets.sum(1), torch.ones(8))
    for i in range(8):
        mate, ratio = i ^ 1, draws.mix_ratio[i]
        assert torch.allclose(got[i], ratio * plain[i] + (1 - ratio) * plain[mate], atol=1e-5)
        assert torch.isclose(targets[i, labels[i]], ratio, atol=1e-6)


def test_cutmix_labels_count_the_pixels():
    source = torch.zeros(64, 3, 16, 16, dtype=torch.uint8)
    source[::2] = 255  # even samples white, their partners black
    labels = torch.arange(64) % 2
    augment = build(AugmentConfig("none", cutmix=1.0))
    draws = augment.draw(rng(), 64)
    got, targets = augment(source, None, labels, draws)
    white = (got > 0).float().mean((1, 2, 3))
    assert torch.allclose(targets[:, 0], white, atol=1e-6)
    assert torch.allclose(targets.sum(1), torch.ones(64))
    # The box has at most the area drawn for it; whole, it misses less than one row and one column of pixels.
    lost = white[::2] - draws.mix_ratio[::2]
    assert lost.min() >= -1e-6
    assert (lost < 2 / 16).sum() >= 8
    assert white[::2].min() < 0.5


def test_mixup_and_cutmix_divide_the_samples_between_them():
    source, labels = images(33), torch.arange(33) % 5
    augment = build(AugmentConfig("none", mixup=1.0, cutmix=1.0))
    draws = augment.draw(rng(), 33)
    assert 8 < draws.cut.sum() < 25
    got, targets = augment(source, None, labels, draws)
    assert torch.equal(got[32], augment.normalise(source, None, labels)[0][32])
    assert targets[32].tolist() == torch.eye(5)[labels[32]].tolist()


def test_mixup_of_numbers_blends_them():
    targets = torch.arange(6.0).view(6, 1)
    augment = build(AugmentConfig("none", mixup=1.0), classes=0)
    draws = augment.draw(rng(), 6)
    _, mixed = augment(images(6), None, targets, draws)
    mates = targets.view(3, 2).flip(1).reshape(6)
    assert torch.allclose(mixed[:, 0], draws.mix_ratio * targets[:, 0] + (1 - draws.mix_ratio) * mates)


def test_erasing_puts_the_mean_colour_on_a_rectangle_of_the_papers_area():
    source = torch.full((3000, 3, 32, 32), 255, dtype=torch.uint8)
    augment = build(AugmentConfig("none", erase=0.4), size=32)
    got, _ = augment(source, None, torch.zeros(3000).long(), augment.draw(rng(), 3000))
    gone = got[:, 0] == 0
    assert torch.equal(gone, got[:, 2] == 0)
    fraction = gone.float().mean((1, 2))
    hit = fraction > 0
    assert abs(hit.float().mean() - 0.4) < 4 * (0.24 / 3000) ** 0.5
    assert fraction[hit].min() > 0.01
    assert fraction[hit].max() < 0.36
    rows, columns = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(rows * columns, gone.sum((1, 2)))  # a full rectangle


def test_views_are_the_mirrors_of_training():
    source = images(2)
    for flip, count in {"none": 1, "lr": 2, "ud": 2, "both": 4}.items():
        seen = views(source, AugmentConfig("none", flip))
        assert len(seen) == count
        assert torch.equal(seen[0], source)
        assert len({p.numpy().tobytes() for p in seen}) == count
    assert torch.equal(views(source, AugmentConfig("none", "lr"))[1], source.flip(-1))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [8, 28, 32, 96, 224])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [0, 10])
def test_every_preset_fills_everything_and_keeps_what_was_set(preset, size, channels, classes):
    filled = resolve(AugmentConfig(preset, rotate=3.0), size=size, channels=channels, classes=classes)
    assert all(getattr(filled, f.name) is not None for f in dataclasses.fields(filled))
    assert filled.rotate == 3.0
    assert filled.preset == preset
    assert resolve(filled, size=size, channels=channels, classes=classes) == filled  # a saved recipe is whole


def test_presets_depend_on_the_images():
    digits = resolve(AugmentConfig(), size=28, channels=1, classes=10)
    assert (digits.preset, digits.flip, digits.pad, digits.area) == ("light", "none", 3, (1, 1))
    cifar = resolve(AugmentConfig(), size=32, channels=3, classes=10)
    assert (cifar.flip, cifar.pad, cifar.brightness) == ("lr", 4, 0)
    photographs = resolve(AugmentConfig(), size=224, channels=3, classes=10)
    assert (photographs.flip, photographs.pad, photographs.area) == ("lr", 0, (0.25, 1))
    assert resolve(AugmentConfig("strong"), size=224, channels=3, classes=10).area == (0.08, 1)
    assert resolve(AugmentConfig("strong"), size=32, channels=3, classes=0).mixup == 0


def test_the_crop_that_was_asked_for_replaces_the_presets():
    assert resolve(AugmentConfig("light", pad=8), size=224, channels=3, classes=2).area == (1, 1)
    assert resolve(AugmentConfig("light", area=(0.5, 1)), size=32, channels=3, classes=2).pad == 0


@pytest.mark.parametrize(
    ("wrong", "size", "channels", "classes", "said"),
    [
        ({"saturation": 0.4}, 28, 1, 10, "augment.saturation must be 0"),
        ({"hue": 0.1}, 28, 1, 10, "augment.hue must be 0"),
        ({"pad": 28}, 28, 1, 10, "less than the image's side of 28"),
        ({"area": (0.5, 0.2)}, 28, 1, 10, "augment.area"),
        ({"area": (0.0, 1.0)}, 28, 1, 10, "augment.area"),
        ({"area": (0.5, 1.2)}, 28, 1, 10, "augment.area"),
        ({"area": (0.5, 0.9), "pad": 2}, 28, 1, 10, "use one"),
        ({"ratio": (2.0, 1.0)}, 28, 1, 10, "augment.ratio"),
        ({"cutmix": 1.0}, 32, 3, 0, "augment.cutmix must be 0 for regression"),
        ({"preset": "strnog"}, 32, 3, 10, "'strong'"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(wrong, size, channels, classes, said):
    with pytest.raises(Refusal, match=said) as refused:
        resolve(AugmentConfig(**wrong), size=size, channels=channels, classes=classes)
    assert "\n" not in str(refused.value)


def test_noise_has_the_set_deviation_and_changes_nothing_else():
    source, index, labels = images(64), torch.arange(64), torch.zeros(64, dtype=torch.long)
    plain, noisy = (build(AugmentConfig("light", noise=std)) for std in (0.0, 0.3))
    (clean, _), (other, _) = (augment(source, index, labels, augment.draw(rng(), 64)) for augment in (plain, noisy))
    added = other - clean
    assert added.std().item() == pytest.approx(0.3, rel=0.02)
    assert added.mean().abs() < 0.01
    assert np.abs(np.corrcoef(added.flatten(1).numpy()) - np.eye(64)).max() < 0.2  # images are independent
    still = plain.normalise(source, index, labels)[0]
    assert torch.equal(noisy(source, index, labels, None)[0], still)  # none in evaluation
