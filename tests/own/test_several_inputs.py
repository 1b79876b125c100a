"""Samples of several inputs, taken apart by the user's network: by place, by name, or together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import danlu
from danlu.refuse import Refusal

COUNT = 60
IMAGES = torch.rand(COUNT, 3, 4, 4, generator=torch.Generator().manual_seed(0))
AGES = torch.arange(COUNT * 2).reshape(COUNT, 2) % 7
LABELS = [k % 2 for k in range(COUNT)]


class Items(Dataset[Any]):
    def __init__(self, named: bool) -> None:
        self.named = named

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, i: int) -> Any:
        return ({"image": IMAGES[i], "age": AGES[i]} if self.named else (IMAGES[i], AGES[i])), LABELS[i]


class Apart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)  # takes integers only
        self.head = nn.Linear(48 + 4, 2)

    def forward(self, image: Tensor, age: Tensor) -> Tensor:
        return self.head(torch.cat([image.flatten(1), self.embedding(age).sum(1)], 1))


class Together(Apart):
    def forward(self, batch: Any) -> Tensor:  # type: ignore[override]
        return super().forward(*(batch.values() if isinstance(batch, dict) else batch))


@pytest.mark.parametrize("named", [False, True], ids=["tuple", "mapping"])
@pytest.mark.parametrize("kind", [Apart, Together])
def test_a_network_takes_several_inputs(train: Any, named: bool, kind: type[nn.Module]) -> None:
    data = Items(named)
    run = train(data, model=kind(), loss=F.cross_entropy)
    again = danlu.load(run.folder, model=kind(), loss=F.cross_entropy)
    inputs = {"image": IMAGES[:5], "age": AGES[:5]} if named else (IMAGES[:5], AGES[:5])
    outputs = again.model(inputs) if kind is Together else again.model(IMAGES[:5], AGES[:5])
    labels = [again.predict(data[i][0])[0].label for i in range(5)]
    assert labels == [str(k) for k in outputs.argmax(1).tolist()]
    whole = {"image": IMAGES, "age": AGES} if named else (IMAGES, AGES)
    every = again.model(whole) if kind is Together else again.model(IMAGES, AGES)
    expected = F.cross_entropy(every, torch.tensor(LABELS)).item()
    assert again.evaluate(data).metrics.test.loss == pytest.approx(expected, abs=1e-3)


def test_arrays_and_loaders_of_several_inputs(train: Any) -> None:
    loaded = train(DataLoader(Items(False), batch_size=20), model=Apart)
    arrays = train(((IMAGES, AGES), LABELS), model=Apart, batch_size=20)
    named = train(({"image": IMAGES, "age": AGES}, LABELS), model=Apart, batch_size=20)
    assert loaded.metrics.to_json() == arrays.metrics.to_json() == named.metrics.to_json()


class Three(Apart):
    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(a, b)


def test_a_transform_belongs_in_the_dataset(train: Any) -> None:
    with pytest.raises(Refusal, match="several inputs; apply it in the dataset"):
        train(Items(True), model=Apart(), transform=lambda x: x)


@pytest.mark.parametrize(
    ("data", "model", "sentence"),
    [
        (Items(False), None, "inputs of DATA must be one tensor per sample, got 2 values of type Tensor; a network of"),
        (Items(False), Three(), "model must take the 2 inputs of a sample, its forward takes 3"),
        ([((IMAGES[i], "x"), i % 2) for i in range(9)], Apart(), "tensors, arrays or numbers, got 'str'"),
        ([((IMAGES[i], 1 << 30), i % 2) for i in range(9)], Apart(), "integers of at most 16,777,216, got 1073741824"),
        (
            [((IMAGES[i], AGES[i, : 1 + (i > 3)]), i % 2) for i in range(9)],
            Apart(),
            r"must be inputs of shapes \(3, 4, 4\), \(1,\), got '\(3, 4, 4\), \(2,\)'",
        ),
    ],
    ids=["no network", "number", "text", "large", "shape"],
)
def test_what_does_not_fit_is_refused(train: Any, data: Any, model: Any, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        train(data, **({} if model is None else {"model": model}))
