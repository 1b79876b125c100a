"""Augmentation of images, boxes, masks and regions: property tests on shapes whose masks determine their boxes."""

import numpy as np
import pytest
import torch

from danlu.config import AugmentConfig
from danlu.data.augmentation.augment_objects import AugmentObjects
from danlu.data.augmentation.tiles import MIN_OBJECT_SIDE, MIN_VISIBLE_FRACTION, mask_boxes
from danlu.data.canvas import PAD, stretch
from danlu.data.object_set import ObjectSet
from danlu.data.sources.named.shapes import draw
from danlu.objects import PADDING, ObjectBatch
from danlu.refuse import Refusal

SIZE, COUNT = 64, 12
PLAIN = {"size": SIZE, "channels": 3, "mean": (0.0,) * 3, "std": (1.0,) * 3}
MOVES = {
    "flip": {"flip": "both"},
    "zoom-out": {"zoom_out": 3.0},
    "iou-crop": {"iou_crop": 1.0},
    "resized-crop": {"area": (0.3, 1.0)},
    "zoom-and-shift": {"scale": 0.4, "translate": 0.2},
    "mosaic": {"mosaic": 1.0, "scale": 0.4, "flip": "lr"},
    "all": {"flip": "lr", "zoom_out": 2.0, "iou_crop": 0.5, "scale": 0.2, "translate": 0.1, "mosaic": 0.5},
}


@pytest.fixture(scope="module")
def shapes() -> tuple[torch.Tensor, ObjectSet]:
    images, annotations = draw(COUNT, SIZE, seed=5)
    return images, ObjectSet(annotations, [stretch((SIZE, SIZE), SIZE)] * COUNT, masks=True)


def varied(
    shapes: tuple[torch.Tensor, ObjectSet], seed: int = 0, search=None, **settings
) -> tuple[torch.Tensor, ObjectBatch]:
    augment = AugmentObjects(AugmentConfig(preset="none", **settings), search=search, **PLAIN)
    index = torch.arange(COUNT)
    targets = shapes[1].index_select(0, index)
    return augment(shapes[0], index, targets, augment.draw(np.random.default_rng(seed), COUNT))


@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES.keys())
@pytest.mark.parametrize("seed", range(3))
def test_the_box_of_the_moved_mask_is_the_moved_box(shapes, moves, seed):
    """Up to a pixel, because edges of a resized mask are on integers; thin tips may vanish in a reduction."""
    _, moved = varied(shapes, seed, **moves)
    real = moved.labels != PADDING
    assert real.any()
    assert (moved.boxes[real] >= 0).all()
    assert (moved.boxes[real] <= SIZE).all()
    apart = (mask_boxes(moved.masks)[real] - moved.boxes[real]).abs()
    assert (apart <= 1.01).float().mean() > 0.95
    assert apart.max() < 3
    assert not moved.masks[~real].any()


def test_a_mirrored_image_has_exactly_mirrored_boxes(shapes):
    images, moved = varied(shapes, flip="both")
    boxes = mask_boxes(moved.masks)[moved.labels != PADDING]
    assert torch.equal(boxes, moved.boxes[moved.labels != PADDING])
    plain = shapes[1].index_select(0, torch.arange(COUNT))
    turned = (moved.boxes != plain.boxes).flatten(1).any(1)
    assert 0 < turned.sum() < COUNT
    assert torch.allclose(images[~turned], shapes[0][~turned] / 255, atol=1e-6)


def test_without_random_numbers_nothing_changes(shapes):
    augment = AugmentObjects(AugmentConfig(preset="strong"), **PLAIN)
    targets = shapes[1].index_select(0, torch.arange(COUNT))
    images, objects = augment(shapes[0], None, targets, None)
    assert torch.allclose(images, shapes[0] / 255, atol=1e-6)
    assert torch.equal(objects.boxes, targets.boxes)
    assert torch.equal(objects.masks, targets.masks)


@pytest.mark.parametrize("moves", [*MOVES.values(), {"mixup": 1.0, "flip": "lr"}], ids=[*MOVES.keys(), "mixup"])
def test_regions_move_as_boxes_do(shapes, moves):
    """If the regions are the boxes of the objects, every object still has an equal region afterwards."""
    bare = ObjectSet(shapes[1].annotations, shapes[1].placements, masks=False)
    own = bare.index_select(0, torch.arange(COUNT)).boxes
    for seed in range(3):
        _, moved = varied((shapes[0], bare), seed, search=lambda images: own, **moves)
        assert moved.regions is not None
        for all_boxes, labels, regions in zip(moved.boxes, moved.labels, moved.regions):
            boxes = all_boxes[labels != PADDING]
            assert (boxes[:, None] == regions).all(2).any(1).all()
        kept = moved.regions[..., 2] > 0
        sides = moved.regions[..., 2:] - moved.regions[..., :2]
        assert (sides[kept] >= MIN_OBJECT_SIDE).all()
        assert (moved.regions[~kept] == 0).all()
        assert kept.sum() >= (moved.labels != PADDING).sum()


def test_regions_are_proposed_before_augmentation(shapes):
    seen = []

    def search(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return torch.zeros(len(images), 1, 4)

    varied(shapes, search=search, flip="lr", zoom_out=2.0, brightness=0.4)
    assert torch.allclose(seen[0], shapes[0] / 255, atol=1e-6)


def test_mostly_clipped_object_is_dropped(shapes):
    bare = ObjectSet(shapes[1].annotations, shapes[1].placements, masks=False)
    _, moved = varied((shapes[0], bare), area=(0.1, 0.2))
    before = sum(len(one) for one in bare.annotations)
    real = moved.labels != PADDING
    assert 0 < real.sum() < before
    assert ((moved.boxes[..., 2:] - moved.boxes[..., :2])[real] >= MIN_OBJECT_SIDE * MIN_VISIBLE_FRACTION).all()


def test_uncovered_canvas_is_grey(shapes):
    images, _ = varied(shapes, zoom_out=3.0)
    assert torch.isclose(images, torch.tensor(PAD / 255), atol=1e-6).all(1).flatten(1).float().mean(1).max() > 0.3


def test_mixup_has_the_objects_of_both(shapes):
    _, moved = varied(shapes, mixup=1.0)
    plain = [len(one) for one in shapes[1].annotations]
    found = (moved.labels != PADDING).sum(1).tolist()
    assert all(now >= before for now, before in zip(found, plain))
    assert sum(found) > sum(plain)
    real = moved.labels != PADDING
    assert torch.equal(mask_boxes(moved.masks)[real], moved.boxes[real])


@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_compute_the_batch_of_one_process(shapes, world):
    augment = AugmentObjects(AugmentConfig(preset="light"), **PLAIN)
    draws = augment.draw(np.random.default_rng(0), COUNT)
    targets = shapes[1].index_select(0, torch.arange(COUNT))
    whole, objects = augment(shapes[0], torch.arange(COUNT), targets, draws)
    size = COUNT // world
    for rank in range(world):
        rows = slice(rank * size, (rank + 1) * size)
        index = torch.arange(COUNT)[rows]
        part, own = augment(shapes[0], index, shapes[1].index_select(0, index), draws.rows(rows))
        assert torch.equal(part, whole[rows])
        for i in range(size):
            assert torch.equal(own.image(i).boxes, objects.image(rank * size + i).boxes)


@pytest.mark.parametrize("settings", [{"rotate": 10.0}, {"cutmix": 1.0}, {"shear": 5.0}])
def test_transforms_without_box_support_are_refused(settings):
    with pytest.raises(Refusal, match=f"augment.{next(iter(settings))}"):
        AugmentObjects(AugmentConfig(**settings), **PLAIN)
