"""From a config to data that is read, split and in the form a network takes, with every setting decided."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from danlu.choose import Choice, choose_data, choose_training
from danlu.config import Config, get, keys, with_values
from danlu.data.augment import resolve
from danlu.data.columns import ColumnEncoder, TargetScaler
from danlu.data.dataset import Dataset
from danlu.data.formats import open_dataset
from danlu.data.inputs import Pictures, channel_statistics, frame_of, picture_inputs
from danlu.data.split import Split, folds, split_dataset
from danlu.engine.device import check_precision, pick_device, probe_format
from danlu.losses import build_loss
from danlu.models.build import build_model
from danlu.refuse import Refusal, refusal
from danlu.schedules import build_schedule
from danlu.signature import Signature

STATISTICS_FROM = 20_000  # training pictures whose mean and standard deviation are taken
CANVAS = 8 / 7  # files are decoded this much larger than the network's input where crops are random


@dataclass
class Prepared:
    """Data read and split, every setting decided. scaled: targets as the network is trained on them."""

    config: Config
    dataset: Dataset
    split: Split
    signature: Signature
    scaled: Tensor
    device: torch.device
    choices: list[Choice] = field(default_factory=list)
    pictures: Pictures | None = None
    columns: Tensor | None = None

    @property
    def source(self) -> Tensor | object:
        return self.pictures.source if self.pictures is not None else self.columns

    @cached_property
    def class_counts(self) -> Tensor | None:
        if not self.dataset.classes:
            return None
        return torch.bincount(self.dataset.targets[self.split.train], minlength=len(self.dataset.classes))

    @cached_property
    def fingerprint(self) -> str:
        """Changes when samples or labels do; a resumed run compares it."""
        digest = hashlib.sha256(repr((len(self.dataset), self.dataset.classes, self.signature)).encode())
        digest.update(self.dataset.targets.numpy().tobytes())
        for part in (self.split.train, self.split.val, self.split.test):
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()[:16]


def read(config: Config) -> tuple[Config, Dataset, list[Choice]]:
    """Open the data and decide what must be known before it is split."""
    if not config.data.path:
        raise refusal("DATA", "a file, a folder or the name of a known set", "nothing", do="try `danlu train digits`")
    dataset = open_dataset(config.data, config.task)
    config, choices = choose_data(config, dataset, pick_device(config.device, config.devices))
    return config, dataset, choices


def prepare(config: Config) -> Prepared:
    """Read, split and decide everything. Refusals for whatever the user got wrong come from here, before any work."""
    config, dataset, choices = read(config)
    device = pick_device(config.device, config.devices)
    if config.data.fold is not None:
        parts = folds(dataset, config.data, config.seed)
        if config.data.fold >= len(parts):
            raise refusal("--data.fold", f"less than {len(parts)}, the number of folds", config.data.fold)
        # The test split is for the model that is kept, not for each fold.
        split = replace(parts[config.data.fold], test=torch.empty(0, dtype=torch.long))
    else:
        split = split_dataset(dataset, config.data, config.seed)
    if split.note:
        dataset = replace(dataset, notes=[*dataset.notes, split.note])
    config, more = choose_training(config, dataset, len(split.train), device)
    if config.batch_size > len(split.train):
        raise refusal("--batch-size", f"at most {len(split.train)}, the training samples", config.batch_size)
    if dataset.kind in ("pictures", "files"):
        config = _augmentation(config, dataset)
        prepared = _prepare_pictures(config, dataset, split, device)
    else:
        prepared = _prepare_table(config, dataset, split, device)
    prepared.choices = choices + more
    _choose_format(prepared)
    _check(prepared)
    return prepared


def _check(prepared: Prepared) -> None:
    """Refuse now what would be refused, or could never act, once the training is assembled."""
    config = prepared.config
    build_loss(config.loss, prepared.class_counts, prepared.dataset.task)
    build_schedule(config.schedule, config.epochs, 1.0)
    check_precision(config.precision or "fp32", prepared.device)
    if not len(prepared.split.val):
        for thing, given in (
            ("--schedule", config.schedule.name == "plateau"),
            ("--regularise.patience", config.regularise.patience),
        ):
            if given:
                raise Refusal(
                    f"{thing} waits for the validation figure to stop improving, but there is no validation part"
                )
    if prepared.pictures is None:
        for key in (*(k for k in keys() if k.startswith("augment.")), "data.size", "data.colour", "data.cache", "tta"):
            value = get(config, key)
            if value not in (None, False, "none"):
                raise refusal(f"--{key}", "left out for a table, it is for pictures", value)


def prepare_for(signature: Signature, config: Config, dataset: Dataset, index: Tensor) -> Prepared:
    """Other data for a trained network: its encoding, scale and classes (by name); `index` is the test part."""
    if dataset.task != signature.task:
        raise refusal("DATA", f"data to {signature.task}", f"{dataset.path}, which is data to {dataset.task}")
    targets = dataset.targets
    if signature.classes:
        unknown = [name for name in dataset.classes if name not in signature.classes]
        if unknown:
            raise refusal(
                f"class in {dataset.path}", "one that the run was trained on", unknown[0], near=signature.classes
            )
        places = torch.tensor([signature.classes.index(name) for name in dataset.classes])
        dataset = replace(dataset, targets=places[targets], classes=signature.classes)
    empty = torch.empty(0, dtype=torch.long)
    split = Split(train=empty, val=empty, test=index, how="all of it")
    scaled = dataset.targets
    if signature.target_scale is not None:
        scaled = TargetScaler.from_dict(signature.target_scale).transform(dataset.targets)
    prepared = Prepared(config, dataset, split, signature, scaled, pick_device(config.device))
    if signature.columns is not None:
        prepared.columns = ColumnEncoder.from_dict(signature.columns).transform(frame_of(dataset), dataset.path)
    elif dataset.kind in ("pictures", "files"):
        colour = "grey" if signature.channels == 1 else "rgb"
        settings = {"size": signature.canvas, "colour": colour, "memory": config.data.memory}
        prepared.pictures = picture_inputs(dataset, **settings)
    else:
        raise refusal("DATA", "pictures", f"{dataset.path}, which holds columns")
    return prepared


def _augmentation(config: Config, dataset: Dataset) -> Config:
    channels = 1 if config.data.colour == "grey" else 3
    classes = len(dataset.classes)
    return replace(config, augment=resolve(config.augment, size=config.data.size, channels=channels, classes=classes))


def _prepare_pictures(config: Config, dataset: Dataset, split: Split, device: torch.device) -> Prepared:
    size, colour = config.data.size, config.data.colour
    if size < 4:
        raise refusal("--size", "at least 4 pixels", size)
    crops = dataset.kind == "files" and config.augment.area is not None and size >= 64
    canvas = round(size * CANVAS) if crops else size
    pictures = picture_inputs(
        dataset,
        size=canvas,
        colour=colour,
        memory=config.data.memory,
        cache=config.data.cache,
        workers=config.data.workers or None,
    )
    if pictures.void:
        keep = torch.ones(len(dataset), dtype=torch.bool)
        keep[pictures.void] = False
        split = replace(split, train=split.train[keep[split.train]], val=split.val[keep[split.val]])
        split = replace(split, test=split.test[keep[split.test]])
    seen = split.train[:: -(-len(split.train) // (STATISTICS_FROM if config.data.memory else 512))]
    mean, std = channel_statistics(pictures.some(seen.tolist()))
    statistics = {"channels": len(mean), "mean": mean, "std": std}
    return _finish(config, dataset, split, device, pictures=pictures, canvas=canvas, **statistics)


def _prepare_table(config: Config, dataset: Dataset, split: Split, device: torch.device) -> Prepared:
    frame = frame_of(dataset)
    kind, _, column = config.data.split.partition(":")
    groups = (column,) if kind == "group" else ()  # who a row belongs to must not be learnt
    encoder = ColumnEncoder.fit(frame.iloc[split.train.numpy()].drop(columns=list(groups)))
    encoder = replace(encoder, dropped=(*encoder.dropped, *groups))
    dataset = replace(dataset, notes=[*dataset.notes, *encoder.notes])
    columns = encoder.transform(frame)
    return _finish(config, dataset, split, device, columns=columns, encoder=encoder)


def _finish(
    config: Config,
    dataset: Dataset,
    split: Split,
    device: torch.device,
    *,
    pictures: Pictures | None = None,
    canvas: int | None = None,
    channels: int | None = None,
    mean: tuple[float, ...] = (),
    std: tuple[float, ...] = (),
    columns: Tensor | None = None,
    encoder: ColumnEncoder | None = None,
) -> Prepared:
    """The signature, and the targets on the scale of training."""
    targets, scale = dataset.targets, None
    if dataset.task == "regress":
        scaler = TargetScaler.fit(targets[split.train], on=bool(config.data.standardise_target))
        targets, scale = scaler.transform(targets), scaler.to_dict()
    signature = Signature(
        task=dataset.task,
        model=config.model.name,
        options=model_options(config),
        classes=dataset.classes,
        target_names=dataset.target_names or (("target",) if dataset.task == "regress" else ()),
        channels=channels,
        size=config.data.size if pictures is not None else None,
        canvas=canvas,
        mean=mean,
        std=std,
        inputs=columns.shape[1] if columns is not None else None,
        columns=encoder.to_dict() if encoder is not None else None,
        target_scale=scale,
    )
    return Prepared(config, dataset, split, signature, targets, device, pictures=pictures, columns=columns)


def model_options(config: Config) -> dict[str, object]:
    """The settings of the network that the user changed; the rest is the network's own."""
    fresh = type(config.model)()
    values = {k: getattr(config.model, k) for k in vars(fresh) if k not in ("name", "pretrained")}
    return {k: v for k, v in values.items() if v != getattr(fresh, k)}


def build_network(prepared: Prepared, seed: int) -> nn.Module:
    """The network with fresh weights drawn from the seed."""
    torch.manual_seed(seed)
    return network(prepared.signature, pretrained=prepared.config.model.pretrained)


def network(signature: Signature, pretrained: bool = False) -> nn.Module:
    """The network a signature describes, with fresh weights, or published ones."""
    return build_model(
        signature.model,
        channels=signature.channels or 1,
        size=signature.size or 1,
        classes=signature.outputs,
        inputs=signature.inputs,
        pretrained=pretrained,
        **signature.options,
    )


def _choose_format(prepared: Prepared) -> None:
    """Precision and memory format, by a probe of the actual network on the actual machine."""
    config, device = prepared.config, prepared.device
    probe = build_network(prepared, config.seed)  # also says now, not later, when the network cannot be built
    if config.precision is not None and config.channels_last is not None:
        return
    if prepared.pictures is None or not any(isinstance(m, nn.Conv2d) for m in probe.modules()):
        precision, channels_last, reason = "fp32", False, "no convolutions to speed up"
    elif config.precision is not None or config.channels_last is not None:
        precision, channels_last, reason = "fp32", config.precision in ("bf16", "fp16"), "goes with what was asked for"
    elif device.type == "cuda":
        precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        channels_last, reason = True, "tensor cores"
    else:
        signature = prepared.signature
        batch = min(config.batch_size, 128)
        inputs = torch.randn(batch, signature.channels, signature.size, signature.size, device=device)
        found = probe_format(lambda: build_network(prepared, config.seed), inputs)
        precision, channels_last, reason = found.precision, found.channels_last, found.reason
    for key, value in (("precision", precision), ("channels_last", channels_last)):
        if getattr(config, key) is None:
            prepared.config = with_values(prepared.config, {key: value})
            prepared.choices.append(Choice(key, value, reason))
