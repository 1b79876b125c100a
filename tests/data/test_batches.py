"""Order, last batches, several processes and weights (claims B3, B4), checked by counting and by plain gradients."""

import numpy as np
import pytest
import torch
from torch import nn

from danlu.config import AugmentConfig
from danlu.data.augmentation.augment import Augment
from danlu.data.batches import Batches, Columns, epoch_order


def rows(n: int, batch_size: int, **settings) -> Batches:
    """Batches of n samples (numbers 5 ... n + 4 of a larger table), each row of which holds its own number."""
    table = torch.arange(n + 10, dtype=torch.float32)[:, None].repeat(1, 3)
    settings = {"seed": 3} | settings
    index = torch.arange(5, n + 5)
    return Batches(table, table[:, 0].long(), index, batch_size=batch_size, transform=Columns(), **settings)


def images(n: int, batch_size: int, config: AugmentConfig | None = None, **settings) -> Batches:
    source = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    augment = Augment(config or AugmentConfig(preset="strong"), size=8, channels=1, classes=4, mean=(0.4,), std=(0.3,))
    targets = torch.arange(n) % 4
    return Batches(
        source, targets, torch.arange(n), batch_size=batch_size, transform=augment, **({"seed": 3} | settings)
    )


def seen(batches: Batches, epoch: int = 0) -> list[int]:
    return [int(i) for batch in batches.epoch(epoch) for i in batch.index]


@pytest.mark.parametrize("last", ["keep", "drop", "carry"])
@pytest.mark.parametrize(("n", "size"), [(10, 4), (12, 4), (7, 3), (9, 1)])
def test_samples_before_a_batch_are_those_that_the_batches_before_it_hold(n, size, last):
    batches, counted = rows(n, size, last=last), 0
    for epoch in range(5):
        for number, batch in enumerate(batches.epoch(epoch)):
            assert batches.samples_before(epoch, number) == counted
            counted += batch.count
        assert batches.samples_before(epoch, batches.length(epoch)) == counted


@pytest.mark.parametrize("last", ["keep", "drop", "carry"])
@pytest.mark.parametrize(("n", "size", "per_epoch"), [(1000, 2, 500), (60000, 100, 600), (1000, 100, 10)])
def test_iterations_per_epoch_are_samples_by_batch_size(n, size, per_epoch, last):
    batches = rows(n, size, last=last)
    assert [batches.length(epoch) for epoch in range(3)] == [per_epoch] * 3
    assert batches.batches_per_epoch == per_epoch


@pytest.mark.parametrize(("n", "size"), [(20, 6), (21, 7), (5, 5), (9, 1), (23, 22)])
def test_keep_shows_every_sample_once_in_a_smaller_last_batch(n, size):
    batches = rows(n, size)
    counts = [len(batch.index) for batch in batches.epoch(2)]
    assert sorted(seen(batches, 2)) == list(range(5, n + 5))
    assert len(counts) == batches.length(2) == -(-n // size)
    assert counts[:-1] == [size] * (len(counts) - 1)
    assert counts[-1] == (n % size or size)


def test_drop_leaves_the_incomplete_batch_out_and_another_one_each_epoch():
    batches = rows(20, 6, last="drop")
    missing = []
    for epoch in range(4):
        found = seen(batches, epoch)
        assert len(found) == len(set(found)) == 18
        missing.append(frozenset(range(5, 25)) - set(found))
    assert len(set(missing)) > 1


@pytest.mark.parametrize(("n", "size"), [(20, 6), (10, 7), (11, 11), (13, 4), (9, 8)])
def test_carry_fills_whole_batches_and_loses_nothing(n, size):
    """The stream of all epochs is the epochs' orders end to end, cut into whole batches."""
    batches = rows(n, size, last="carry")
    stream = [int(i) for epoch in range(9) for i in batches.order(epoch)]
    whole = np.concatenate([epoch_order(batches.index, 3, epoch) for epoch in range(9)]).tolist()
    assert stream == whole[: len(stream)]
    assert len(whole) - len(stream) < size
    lengths = [batches.length(epoch) for epoch in range(9)]
    assert lengths == [len(list(batches.epoch(epoch))) for epoch in range(9)]
    assert all(len(batch.index) == size for epoch in range(9) for batch in batches.epoch(epoch))
    assert sum(lengths) == 9 * n // size
    assert batches.batches_per_epoch == pytest.approx(n / size)


def test_each_epoch_has_an_order_of_its_own_and_the_seed_decides_it():
    one, same, other = rows(40, 8), rows(40, 8), rows(40, 8, seed=4)
    orders = [tuple(seen(one, epoch)) for epoch in range(5)]
    assert len(set(orders)) == 5
    assert orders == [tuple(seen(same, epoch)) for epoch in range(5)]
    assert orders[0] != tuple(seen(other))
    assert seen(rows(40, 8, seed=None), 3) == list(range(5, 45))


def test_rows_targets_and_numbers_belong_together():
    for batch in rows(17, 5).epoch():
        assert torch.equal(batch.inputs[:, 0].long(), batch.index)
        assert torch.equal(batch.targets, batch.index)


def test_balance_draws_every_class_equally_often():
    classes = torch.tensor([0] * 80 + [1] * 15 + [2] * 5)
    batches = rows(100, 10, classes=classes)
    found = torch.tensor(seen(batches)) - 5
    counts = torch.bincount(classes[found], minlength=3)
    assert counts.sum() == 100
    assert counts.min() >= 32
    assert counts.max() <= 34
    small = torch.bincount(found[classes[found] == 2] - 95, minlength=5)
    assert small.max() - small.min() <= 1  # a small class repeats evenly
    large = found[classes[found] == 0]
    assert len(large) == len(set(large.tolist()))  # a large one is thinned, never doubled
    assert seen(batches, 1) != seen(batches, 0)


@pytest.mark.parametrize("last", ["keep", "carry"])
@pytest.mark.parametrize("start", [0, 1, 4])
def test_an_epoch_can_begin_in_the_middle(start, last):
    batches = images(38, 8, AugmentConfig(preset="strong", mixup=0.4, cutmix=0.7), last=last)
    whole, tail = list(batches.epoch(1)), list(batches.epoch(1, start=start))
    assert len(tail) == len(whole) - start
    for a, b in zip(whole[start:], tail, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
        assert torch.equal(a.index, b.index)
        assert a.weight == b.weight


# Samples are mixed in pairs, and a pair that two processes would share stays unmixed: with mixup each gets an even number.
@pytest.mark.parametrize(("world", "n", "mixup"), [(2, 24, 0.2), (2, 26, 0), (2, 25, 0), (3, 24, 0), (3, 31, 0)])
def test_processes_share_each_batch_and_what_it_looks_like(world, n, mixup):
    """However many processes there are, they see the images one process would have seen, none twice."""
    config = AugmentConfig(preset="strong", mixup=mixup)
    alone = list(images(n, 8, config).epoch(2))
    ranks = [list(images(n, 8, config, rank=rank, world=world).epoch(2)) for rank in range(world)]
    for number, whole in enumerate(alone):
        parts = [batches[number] for batches in ranks]
        counted = [part for part in parts if part.weight > 0]
        assert all(part.count == whole.count for part in parts)
        assert all(
            len(part.index) == 1 for part in parts if part.weight == 0
        )  # a sample with weight 0 for a process without samples
        assert torch.equal(torch.cat([part.index for part in counted]), whole.index)
        assert torch.equal(torch.cat([part.inputs for part in counted]), whole.inputs)
        sizes = [len(part.index) for part in counted]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("accumulate", [1, 2, 3])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("n", "last"), [(33, "keep"), (34, "keep"), (35, "drop"), (37, "carry")])
def test_gradients_are_those_of_the_mean_over_the_whole_step(n, last, world, accumulate):
    """Claim B4: summed over an accumulated group and averaged over processes, as DDP does."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    y = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    model = nn.Linear(5, 1, dtype=torch.float64)
    settings = {"batch_size": 8, "transform": Columns(), "seed": 1, "last": last, "accumulate": accumulate}
    ranks = [Batches(x, y, torch.arange(n), rank=rank, world=world, **settings) for rank in range(world)]

    def gradient(rows: list[int]) -> torch.Tensor:
        model.zero_grad()
        (model(x[rows]) - y[rows]).square().mean().backward()
        return model.weight.grad.clone()

    for epoch in (0, 1):
        members: list[int] = []
        summed = torch.zeros_like(model.weight)
        steps = 0
        for number, parts in enumerate(zip(*(batches.epoch(epoch) for batches in ranks), strict=True)):
            for batch in parts:
                model.zero_grad()
                ((model(batch.inputs) - batch.targets).square().mean() * batch.weight).backward()
                summed += model.weight.grad / world
                members += batch.index.tolist() if batch.weight > 0 else []
            if ranks[0].closes_step(epoch, number):
                torch.testing.assert_close(summed, gradient(members), rtol=1e-10, atol=1e-12)
                members, summed, steps = [], torch.zeros_like(model.weight), steps + 1
        assert not members  # the last batch of an epoch always closes a step
        assert steps == -(-ranks[0].length(epoch) // accumulate)


def test_a_batch_alone_weighs_one():
    assert all(batch.weight == 1 for batch in rows(20, 6).epoch())
