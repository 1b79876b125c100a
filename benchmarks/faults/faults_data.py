"""Faults of the data: leaks, duplicates, labels, scale, order, shift, augmentation."""

# ruff: noqa: E501 - tables of cases, one per line
from __future__ import annotations

from dataclasses import replace

import torch
from data import Data
from loop import Batches, Setup
from planting import Fault, on_data, on_loop, random_rows
from torch import Tensor, nn


def leak(setup: Setup, how: tuple[float, float]) -> Setup:
    """Copy training samples into the validation set: (fraction of validation, added noise in standard deviations)."""
    fraction, noise = how

    def edit(data: Data, g: torch.Generator) -> Data:
        into = random_rows(len(data.x_val), fraction, g)
        rows = torch.randperm(len(data.x), generator=g)[: len(into)]
        x_val, y_val = data.x_val.clone(), data.y_val.clone()
        x_val[into] = data.x[rows] + noise * torch.randn(data.x[rows].shape, generator=g)
        y_val[into] = data.y[rows]
        return replace(data, x_val=x_val, y_val=y_val)

    return on_data(setup, edit)


def duplicates(setup: Setup, distinct: float) -> Setup:
    """Keep a fraction of distinct training samples; replace the rest by copies."""

    def edit(data: Data, g: torch.Generator) -> Data:
        kept = random_rows(len(data.x), distinct, g)
        rows = kept[torch.randint(len(kept), (len(data.x),), generator=g)]
        return replace(data, x=data.x[rows], y=data.y[rows])

    return on_data(setup, edit)


def contradictions(setup: Setup, fraction: float) -> Setup:
    """Duplicate a fraction of the training samples with another label."""

    def edit(data: Data, g: torch.Generator) -> Data:
        rows = random_rows(len(data.x), fraction, g)
        return replace(data, x=torch.cat([data.x, data.x[rows]]), y=torch.cat([data.y, other_label(data, rows, g)]))

    return on_data(setup, edit)


def other_label(data: Data, rows: Tensor, g: torch.Generator) -> Tensor:
    if data.task == "binary":
        return 1 - data.y[rows]
    return (data.y[rows] + torch.randint(1, data.outputs, (len(rows),), generator=g)) % data.outputs


def imbalance(setup: Setup, rare: float) -> Setup:
    """Reduce all classes but the first to a fraction of their samples, in both splits."""

    def thin(x: Tensor, y: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
        keep = (y.flatten() == 0) | (torch.rand(len(y), generator=g) < rare)
        return x[keep], y[keep]

    def edit(data: Data, g: torch.Generator) -> Data:
        (x, y), (x_val, y_val) = thin(data.x, data.y, g), thin(data.x_val, data.y_val, g)
        return replace(data, x=x, y=y, x_val=x_val, y_val=y_val)

    return on_data(setup, edit)


def labels_from_one(setup: Setup, _: None) -> Setup:
    """Number classes from 1, with one more output so that the loss raises no error."""
    return on_data(setup, lambda data, g: replace(data, y=data.y + 1, y_val=data.y_val + 1, outputs=data.outputs + 1))


def label_too_large(setup: Setup, fraction: float) -> Setup:
    """Set some labels one past the last class: the loss raises an error."""

    def edit(data: Data, g: torch.Generator) -> Data:
        y = data.y.clone()
        y[random_rows(len(y), fraction, g)] = data.outputs
        return replace(data, y=y)

    return on_data(setup, edit)


def signed_labels(setup: Setup, _: None) -> Setup:
    """Give labels -1 and +1 to a loss that expects 0 and 1."""
    return on_data(setup, lambda data, g: replace(data, y=2 * data.y - 1, y_val=2 * data.y_val - 1))


def label_noise(setup: Setup, fraction: float) -> Setup:
    """Replace a fraction of the labels of both splits by another class."""

    def edit(data: Data, g: torch.Generator) -> Data:
        rows, rows_val = random_rows(len(data.y), fraction, g), random_rows(len(data.y_val), fraction, g)
        y, y_val = data.y.clone(), data.y_val.clone()
        y[rows] = other_label(data, rows, g)
        held_out = replace(data, y=data.y_val)
        y_val[rows_val] = other_label(held_out, rows_val, g)
        return replace(data, y=y, y_val=y_val)

    return on_data(setup, edit)


def labels_shuffled(setup: Setup, both: bool) -> Setup:
    """Shuffle inputs and labels separately, in training only or in both splits."""

    def edit(data: Data, g: torch.Generator) -> Data:
        y = data.y[torch.randperm(len(data.y), generator=g)]
        y_val = data.y_val[torch.randperm(len(data.y_val), generator=g)] if both else data.y_val
        return replace(data, y=y, y_val=y_val)

    return on_data(setup, edit)


def rescale(setup: Setup, how: tuple[float, float]) -> Setup:
    """Scale and shift the inputs: (factor, offset)."""
    factor, offset = how
    return on_data(setup, lambda data, g: replace(data, x=data.x * factor + offset, x_val=data.x_val * factor + offset))


def uneven_columns(setup: Setup, spread: float) -> Setup:
    """Scale columns by 1 to `spread`, each far from zero, such as metres next to dollars."""

    def edit(data: Data, g: torch.Generator) -> Data:
        columns = data.x.shape[1]
        units = spread ** torch.linspace(0, 1, columns)
        return replace(data, x=(data.x + 3) * units, x_val=(data.x_val + 3) * units)

    return on_data(setup, edit)


def blank(setup: Setup, fraction: float) -> Setup:
    """Replace a fraction of the samples of both splits by empty images (the smallest value everywhere)."""

    def edit(data: Data, g: torch.Generator) -> Data:
        x, x_val = data.x.clone(), data.x_val.clone()
        x[random_rows(len(x), fraction, g)] = data.x.min()
        x_val[random_rows(len(x_val), fraction, g)] = data.x.min()
        return replace(data, x=x, x_val=x_val)

    return on_data(setup, edit)


class Unshuffled:
    """Loader that reads the training set in stored order."""

    def make_loaders(self):
        train, val = super().make_loaders()
        train.shuffle = False
        return train, val


def not_shuffled(setup: Setup, run: int) -> Setup:
    """Order classes in runs of `run` samples (0: sort by class) without shuffling in the loader."""

    def edit(data: Data, g: torch.Generator) -> Data:
        order = torch.argsort(data.y.flatten(), stable=True)
        if run:
            pieces = order.split(run)
            order = torch.cat([pieces[i] for i in torch.randperm(len(pieces), generator=g)])
        return replace(data, x=data.x[order], y=data.y[order])

    return on_loop(on_data(setup, edit), Unshuffled)


def shifted_inputs(setup: Setup, how: tuple[float, float]) -> Setup:
    """Preprocess validation differently from training: (factor, offset)."""
    factor, offset = how
    return on_data(setup, lambda data, g: replace(data, x_val=data.x_val * factor + offset))


def shifted_labels(setup: Setup, fraction: float) -> Setup:
    """Keep a fraction of the training samples of the upper half of the classes: a split by label."""

    def edit(data: Data, g: torch.Generator) -> Data:
        late = data.y >= data.outputs // 2
        keep = ~late | (torch.rand(len(data.y), generator=g) < fraction)
        return replace(data, x=data.x[keep], y=data.y[keep])

    return on_data(setup, edit)


def target_kept(setup: Setup, _: None) -> Setup:
    """Leave the column of the targets among the inputs."""

    def with_target(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([y.reshape(-1, 1), x[:, 1:]], 1)

    return on_data(
        setup, lambda data, g: replace(data, x=with_target(data.x, data.y), x_val=with_target(data.x_val, data.y_val))
    )


def other_units(setup: Setup, _: None) -> Setup:
    """Standardise the targets of training, not those of validation."""
    return on_data(setup, lambda data, g: replace(data, y_val=77 * data.y_val + 300))


def any_quarter_turn(x: Tensor) -> Tensor:
    """Rotate each image by 0, 90, 180 or 270 degrees and mirror it at random: 6 and 9 become the same."""
    turned = torch.stack(
        [torch.rot90(x, k, (2, 3)) for k in range(4)] + [torch.rot90(x.flip(3), k, (2, 3)) for k in range(4)]
    )
    return turned[torch.randint(8, (len(x),)), torch.arange(len(x))]


def strong_noise(x: Tensor) -> Tensor:
    return x + 3 * torch.randn_like(x)


def mostly_erased(x: Tensor) -> Tensor:
    """Set seven of eight pixels to zero."""
    return x * (torch.rand_like(x[:, :1]) < 0.125)


def harmful_augmentation(setup: Setup, augment) -> Setup:
    return setup.but(augment=augment)


class AugmentedValidation:
    """Use the same augmentation in both loaders."""

    def make_loaders(self):
        train, val = super().make_loaders()
        augment = jitter if self.data.x.dim() == 2 else crop_and_noise
        return (
            Batches(train.x, train.y, train.batch_size, True, augment),
            Batches(val.x, val.y, val.batch_size, False, augment),
        )


def jitter(x: Tensor) -> Tensor:
    return x + 0.3 * torch.randn_like(x)


def crop_and_noise(x: Tensor) -> Tensor:
    """Crop at random after padding by two pixels and add a little noise."""
    side = x.shape[-1]
    padded = nn.functional.pad(x, (2, 2, 2, 2), value=x.min().item())
    top, left = (int(torch.randint(5, ())) for _ in range(2))
    return padded[:, :, top : top + side, left : left + side] + 0.2 * torch.randn_like(x)


DATA_FAULTS = [
    Fault("leak", "data.leak", leak, {"all": (1.0, 0), "a third": (0.3, 0), "near copies": (0.4, 0.01)}, proof="code"),
    Fault("duplicates", "data.duplicates", duplicates, {"a fifth distinct": 0.2, "half distinct": 0.5}, proof="code"),
    Fault("contradictions", "data.duplicates", contradictions, {"a third": 0.33}, "classes|binary", also=("data.label_noise",), proof="code"),
    Fault("imbalance", "data.imbalance", imbalance, {"1 in 50": 0.02, "1 in 20": 0.05}, "binary", proof="code"),
    Fault("labels from one", "data.label_range", labels_from_one, needs="classes", also=("model.output_mismatch",), proof="code"),
    Fault("label too large", "data.label_range", label_too_large, {"1 in 10": 0.1}, "classes", proof="crash"),
    Fault("signed labels", "data.label_range", signed_labels, needs="binary", proof="code"),
    Fault("label noise", "data.label_noise", label_noise, {"40 %": 0.4, "20 %": 0.2, "10 %": 0.1}, "classes|binary"),
    Fault("labels shuffled", "data.labels_shuffled", labels_shuffled, {"in training": False, "in both": True}),
    Fault("raw scale", "data.not_normalised", rescale, {"0..255": (64.0, 128.0), "offset": (1.0, 20.0)}, "images", proof="code"),
    Fault("uneven columns", "data.not_normalised", uneven_columns, {"to 1000": 1000.0, "to 100": 100.0}, "table", proof="code"),
    Fault("blank samples", "data.degenerate", blank, {"40 %": 0.4, "15 %": 0.15}, "images"),
    Fault("not shuffled", "data.not_shuffled", not_shuffled, {"sorted": 0, "runs of 200": 200}, "classes", proof="code"),
    Fault("validation preprocessed otherwise", "data.split_shift", shifted_inputs, {"much": (0.5, 1.5), "little": (1.0, 1.3)}),
    Fault("validation in other units", "data.split_shift", other_units, needs="numbers", proof="code"),
    Fault("target among the inputs", "model.sees_future", target_kept, needs="numbers table", proof="code"),
    Fault("split by label", "data.split_shift", shifted_labels, {"absent": 0.0, "1 in 20": 0.05}, "classes"),
    Fault("augmentation destroys the label", "data.augmentation_harmful", harmful_augmentation,
          {"erased": mostly_erased, "noise": strong_noise, "turned": any_quarter_turn}, "images", also=("fit.regularisation_too_strong",)),
    Fault("augmentation on validation", "data.augmentation_harmful", lambda setup, _: on_loop(setup, AugmentedValidation), proof="code"),
]  # fmt: skip
