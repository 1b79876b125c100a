import numpy as np
import pandas
import pytest
import torch

from danlu.config import DataConfig
from danlu.data.dataset import TEST, TRAIN, UNASSIGNED, VAL, Dataset
from danlu.data.split import Split, folds, split_dataset
from danlu.refuse import Refusal


def classes_of(sizes: list[int], given=None) -> Dataset:
    labels = torch.cat([torch.full((n,), k) for k, n in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    names = tuple(f"class {k}" for k in range(len(sizes)))
    return Dataset("here", "npz", "classify", torch.zeros(len(labels), 2), labels, names, given=given)


def table(n: int, **columns) -> Dataset:
    return Dataset("table.csv", "csv", "regress", pandas.DataFrame({"x": range(n)} | columns), torch.rand(n, 1))


def sizes(split: Split) -> tuple[int, int, int]:
    return len(split.train), len(split.val), len(split.test)


def check_apart(split: Split, n: int) -> None:
    """Every sample is in one part exactly."""
    assert torch.cat([split.train, split.val, split.test]).sort().values.tolist() == list(range(n))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (140, 30, 30)),
        ({"val": 0.25, "test": 0.05}, (140, 50, 10)),
        ({"val": 7, "test": 11}, (182, 7, 11)),
        ({"val": 1}, (169, 1, 30)),
    ],
)
@pytest.mark.parametrize("how", ["stratified", "random"])
def test_parts_have_the_size_that_is_asked_for(settings, expected, how):
    split = split_dataset(classes_of([120, 50, 30]), DataConfig(split=how, **settings), seed=0)
    assert sizes(split) == expected
    check_apart(split, 200)


def test_given_validation_set_leaves_all_other_samples_for_training():
    dataset = classes_of([60, 40], given=torch.tensor([TRAIN] * 80 + [VAL] * 20, dtype=torch.int8))
    split = split_dataset(dataset, DataConfig(), seed=0)
    assert sizes(split) == (80, 20, 0)
    assert "--test 0.15" in str(split.note)
    held_out = split_dataset(dataset, DataConfig(test=0.15), seed=0)
    assert sizes(held_out) == (68, 20, 12)
    assert held_out.note is None
    assert split_dataset(classes_of([60, 40]), DataConfig(), seed=0).note is None


def test_large_datasets_hold_out_a_smaller_fraction():
    assert sizes(split_dataset(classes_of([1000, 1000]), DataConfig(), 0)) == (1600, 200, 200)


def test_stratified_parts_have_the_classes_in_proportion():
    dataset = classes_of([600, 300, 97, 3])
    split = split_dataset(dataset, DataConfig(), seed=0)
    frequencies = torch.tensor([600, 300, 97, 3]) / 1000
    for part in (split.train, split.val, split.test):
        counts = dataset.targets[part].bincount(minlength=4)
        assert (counts - frequencies * len(part)).abs().max() < 2
        assert counts.min() == 1  # three samples: one each
    assert split.how == "validation and test stratified by class"


def test_class_with_one_sample_is_used_for_training():
    dataset = classes_of([40, 40, 1, 2])
    for seed in range(5):
        split = split_dataset(dataset, DataConfig(), seed)
        assert {2, 3} <= set(dataset.targets[split.train].tolist())
        check_apart(split, 83)


def test_the_seed_decides():
    dataset = classes_of([50, 50])
    a, b, other = (split_dataset(dataset, DataConfig(), seed) for seed in (3, 3, 4))
    assert a.val.tolist() == b.val.tolist() != other.val.tolist()
    assert a.train.tolist() == sorted(a.train.tolist())


def given(n: int) -> torch.Tensor:
    parts = torch.full((n,), TRAIN, dtype=torch.int8)
    parts[-20:] = TEST
    parts[-30:-20] = VAL
    parts[0] = UNASSIGNED
    return parts


def test_given_parts_are_respected_and_only_a_missing_one_is_cut():
    split = split_dataset(classes_of([60, 40], given(100)), DataConfig(), 0)
    assert (split.val.tolist(), split.test.tolist()) == (list(range(70, 80)), list(range(80, 100)))
    assert split.how == "validation and test given"
    no_val = given(100)
    no_val[no_val == VAL] = TRAIN
    split = split_dataset(classes_of([60, 40], no_val), DataConfig(), 0)
    assert sizes(split) == (68, 12, 20)
    assert split.how == "test given, validation stratified by class"
    check_apart(split, 100)


def test_empty_split_is_not_described_as_given():
    assert split_dataset(classes_of([60, 40]), DataConfig(val=0), 0).how == "test stratified by class, validation none"
    assert split_dataset(classes_of([60, 40]), DataConfig(val=0, test=0), 0).how == "validation and test none"


def test_split_with_a_given_size_is_drawn_again():
    split = split_dataset(classes_of([60, 40], given(100)), DataConfig(val=0.5), 0)
    assert sizes(split) == (40, 40, 20)
    check_apart(split, 100)
    split = split_dataset(classes_of([60, 40], given(100)), DataConfig(val="elsewhere/"), 0)
    assert sizes(split) == (70, 10, 20)


@pytest.mark.parametrize(
    "when",
    [
        np.random.default_rng(0).permutation(100),
        np.random.default_rng(0).integers(0, 12, 100),  # many samples at one time
        pandas.date_range("2020-01-01", periods=100)[np.random.default_rng(0).permutation(100)].astype(str),
    ],
)
def test_by_time_validation_is_later_than_training_and_test_later_still(when):
    dataset = table(100, when=when)
    split = split_dataset(dataset, DataConfig(split="time:when"), 0)
    check_apart(split, 100)
    train, val, test = (
        dataset.inputs["when"].to_numpy()[part.numpy()] for part in (split.train, split.val, split.test)
    )
    assert max(train) < min(val) <= max(val) < min(test)
    assert abs(len(val) - 15) <= 8
    assert "the latest by when" in split.how
    for fold in folds(dataset, DataConfig(split="time:when", folds=3), 0):
        train, val, test = (
            dataset.inputs["when"].to_numpy()[part.numpy()] for part in (fold.train, fold.val, fold.test)
        )
        assert max(train) < min(val) <= max(val) < min(test)


def test_by_group_no_group_is_in_two_parts():
    who = np.random.default_rng(0).choice(list("abcdefghijklmno"), 200)
    dataset = table(200, who=who)
    splits = [split_dataset(dataset, DataConfig(split="group:who"), seed) for seed in range(5)]
    splits += folds(dataset, DataConfig(split="group:who", folds=4), 0)
    for split in splits:
        parts = [set(who[part.numpy()]) for part in (split.train, split.val, split.test)]
        assert all(parts)
        assert sum(map(len, parts)) == len(set(who))
        check_apart(split, 200)
    assert 15 <= len(splits[0].val) <= 45
    assert len({tuple(split.val.tolist()) for split in splits[:5]}) > 1


@pytest.mark.parametrize("how", ["stratified", "random"])
def test_every_sample_validates_in_one_fold_and_the_test_part_in_none(how):
    dataset = classes_of([60, 39, 1])
    found = folds(dataset, DataConfig(split=how, folds=5), 0)
    assert len(found) == 5
    assert len({tuple(split.test.tolist()) for split in found}) == 1
    for split in found:
        check_apart(split, 100)
    validated = torch.cat([split.val for split in found]).tolist()
    alone = (dataset.targets == 2).nonzero().flatten().tolist() if how == "stratified" else []
    assert sorted(validated + found[0].test.tolist() + alone) == list(range(100))


def test_folds_join_a_given_validation_part_to_the_training():
    found = folds(classes_of([60, 40], given(100)), DataConfig(folds=4), 0)
    assert [sizes(split) for split in found] == [(60, 20, 20)] * 4
    assert found[0].test.tolist() == list(range(80, 100))


@pytest.mark.parametrize("settings", [{}, {"folds": 3}])
def test_limit_keeps_a_stratified_part_of_the_training_samples(settings):
    dataset = classes_of([300, 100])
    config = DataConfig(limit=40, **settings)
    split = folds(dataset, config, 0)[0] if settings else split_dataset(dataset, config, 0)
    assert dataset.targets[split.train].bincount().tolist() == [30, 10]
    assert "40 of" in split.note
    assert len(split.test) == 60


@pytest.mark.parametrize(
    ("dataset", "settings", "says"),
    [
        (classes_of([50, 50]), {"val": 60, "test": 40}, "leave training samples"),
        (classes_of([50, 50]), {"val": 1000}, "leave training samples"),
        (classes_of([1, 1]), {}, "leave training samples"),
        (classes_of([2, 2, 2, 2]), {"val": 6, "test": 1}, "one training sample of each class"),
        (classes_of([1] * 20), {}, "--split random"),
        (classes_of([50, 50]), {"split": "stratfied"}, "did you mean 'stratified'"),
        (classes_of([50, 50]), {"split": "time"}, "time:COLUMN"),
        (classes_of([50, 50]), {"split": "random:x"}, "time:COLUMN"),
        (classes_of([50, 50]), {"split": "time:x"}, "other than tables"),
        (table(50, when=range(50)), {"split": "time:wen"}, "did you mean 'when'"),
        (table(50, when=["a"] * 50), {"split": "time:when"}, "dates or numbers, got 'a'"),
        (table(50, when=[None, *range(49)]), {"split": "time:when"}, "sample 0"),
        (table(50, when=[1, 2] * 25), {"split": "time:when"}, "3 different times"),
        (table(50, who=["a", "b"] * 25), {"split": "group:who"}, "3 groups"),
        (classes_of([50, 50]), {"folds": 86}, "at most 43"),
        (classes_of([50, 50]), {"folds": 86, "split": "random"}, "at most 85"),
        (table(50, who=list("abcde") * 10), {"split": "group:who", "folds": 5}, "at most 4"),
        (table(50, who=list("abcde") * 10), {"split": "time:x", "folds": 50}, "at most"),
    ],
)
def test_refusals(dataset, settings, says):
    with pytest.raises(Refusal, match=says):
        (folds if "folds" in settings else split_dataset)(dataset, DataConfig(**settings), 0)


def test_folds_without_a_test_part() -> None:
    data = Dataset("made", "made", "classify", torch.zeros(60, 2), torch.arange(60) % 3, ("a", "b", "c"))
    parts = folds(data, DataConfig(folds=5, test=0), 0)
    assert all(len(part.test) == 0 for part in parts)
    assert sorted(i for part in parts for i in part.val.tolist()) == list(range(60))
