"""From a config to data that is read, split and in the form a network takes, with every setting decided."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from danlu.config import Config, get, keys, with_values
from danlu.data.annotations import Annotation
from danlu.data.augment import resolve
from danlu.data.canvas import Fit
from danlu.data.columns import ColumnEncoder, TargetScaler
from danlu.data.dataset import Dataset
from danlu.data.formats import OBJECTS, open_dataset
from danlu.data.inputs import Images, channel_statistics, frame_of, image_inputs, placements
from danlu.data.object_set import ObjectSet
from danlu.data.presets import resolve_objects
from danlu.data.split import Split, folds, split_dataset
from danlu.detection.build import DETECTOR_OPTIONS, build_detector, find_detector
from danlu.detection.detector import Detector
from danlu.engine.device import check_precision, keep_freed_memory, pick_device, probe_format
from danlu.learning.losses import build_loss
from danlu.learning.schedules import build_schedule
from danlu.learning.sparse import sparsify
from danlu.message import Message, clauses, message
from danlu.models.build import build_backbone, build_model
from danlu.preparation.defaults import Choice, choose_data, choose_training
from danlu.preparation.transfer import Source, Transfer, freeze, frozen_parts, match, open_source, rate_shares
from danlu.refuse import Refusal, refusal
from danlu.run.signature import Signature

STATISTICS_FROM = 20_000  # training images whose mean and standard deviation are taken
NOT_LEARNT = {  # why the column that --split goes by is no input
    "group": "says which rows belong together and the network is to be judged on others (--split)",
    "time": "only dates the rows and every later row lies beyond what was seen of it (--split)",
}
CANVAS = 8 / 7  # files are decoded this much larger than the network's input where crops are random


@dataclass
class Prepared:
    """Data read and split, every setting decided. scaled: targets as the network is trained on them.

    transfer: the weights that the network starts from, other than drawn ones.
    """

    config: Config
    dataset: Dataset
    split: Split
    signature: Signature
    scaled: Tensor | ObjectSet
    device: torch.device
    choices: list[Choice] = field(default_factory=list)
    images: Images | None = None
    columns: Tensor | None = None
    transfer: Transfer | None = None

    @property
    def source(self) -> Tensor | object:
        return self.images.source if self.images is not None else self.columns

    @property
    def objects(self) -> ObjectSet | None:
        """What is to be found in the images, where the task is to detect or to segment."""
        return self.scaled if isinstance(self.scaled, ObjectSet) else None

    @cached_property
    def class_counts(self) -> Tensor | None:
        if self.dataset.task != "classify":
            return None
        return torch.bincount(self.dataset.targets[self.split.train], minlength=len(self.dataset.classes))

    @cached_property
    def fingerprint(self) -> str:
        """Changes when samples or labels do; a resumed run compares it."""
        digest = hashlib.sha256(repr((len(self.dataset), self.dataset.classes, self.signature)).encode())
        digest.update(_bytes(self.dataset.targets))
        for part in (self.split.train, self.split.val, self.split.test):
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()[:16]


def _bytes(targets: Tensor | Sequence[Annotation]) -> bytes:
    if isinstance(targets, Tensor):
        return targets.numpy().tobytes()
    return b"".join(x.numpy().tobytes() for one in targets for x in (one.boxes, one.labels, one.ignore))


def read(config: Config, start: Signature | None = None) -> tuple[Config, Dataset, list[Choice]]:
    """Open the data and decide what must be known before it is split. start: of the weights to start from."""
    if not config.data.path:
        raise refusal("DATA", "a file, a folder or the name of a known set", "nothing", do="try `danlu train digits`")
    dataset = open_dataset(config.data, config.task)
    target = config.data.target
    if target and dataset.kind != "table" and target not in dataset.target_names:
        raise refusal("--target", f"left out where the data are no table with named columns, as {dataset.path}", target)
    config, choices = choose_data(config, dataset, pick_device(config.device, config.devices), start)
    return config, dataset, choices


def prepare(config: Config, start_kept: Path | None = None) -> Prepared:
    """Read, split and decide everything. Refusals for whatever the user got wrong come from here, before any work.

    start_kept: where the run keeps its copy of the weights it started from (`Run.weights("start")`), if it has one.
    """
    keep_freed_memory()
    source = open_source(config, start_kept)
    start = source.signature if source else None
    config, dataset, choices = read(config, start)
    device = pick_device(config.device, config.devices)
    drawn_by = config.seed if config.data.seed is None else config.data.seed
    if config.data.fold is not None:
        parts = folds(dataset, config.data, drawn_by)
        if config.data.fold >= len(parts):
            raise refusal("--data.fold", f"less than {len(parts)}, the number of folds", config.data.fold)
        # The test split is for the model that is kept, not for each fold.
        split = replace(parts[config.data.fold], test=torch.empty(0, dtype=torch.long))
    else:
        split = split_dataset(dataset, config.data, drawn_by)
    if split.note:
        dataset = replace(dataset, notes=[*dataset.notes, split.note])
    config, more = choose_training(config, dataset, len(split.train), device, start)
    if config.batch_size > len(split.train):
        raise refusal("--batch-size", f"at most {len(split.train)}, the training samples", config.batch_size)
    if dataset.kind in ("images", "files"):
        config = _augmentation(config, dataset)
        prepared = _prepare_images(config, dataset, split, device, start)
        _check_objects(prepared)
    else:
        prepared = _prepare_table(config, dataset, split, device)
    prepared.choices = choices + more
    _transfer(prepared, source)
    _choose_format(prepared)
    _check(prepared)
    return prepared


def _check(prepared: Prepared) -> None:
    """Refuse now what would be refused, or could never act, once the training is assembled."""
    config = prepared.config
    if prepared.objects is None:
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
    if prepared.images is None:
        for key in (*(k for k in keys() if k.startswith("augment.")), "data.size", "data.colour", "data.cache", "tta"):
            value = get(config, key)
            if value not in (None, False, "none"):
                raise refusal(f"--{key}", "left out for a table, it is for images", value)


def _check_objects(prepared: Prepared) -> None:
    """Refuse what a detector cannot do, or could not be judged by; and settings that only detectors heed."""
    if prepared.objects is None:
        fresh = type(prepared.config.detect)()
        for name, value in vars(prepared.config.detect).items():
            if value != getattr(fresh, name):
                raise refusal(f"--detect.{name}", "left out where no objects are to be found", value)
        return
    for part in ("train", "val"):
        index = getattr(prepared.split, part).tolist()
        if index and not any((~prepared.objects.annotations[i].ignore).any() for i in index):
            some = sum(bool((~one.ignore).any()) for one in prepared.objects.annotations)
            raise Refusal(
                f"the {part} part of {prepared.dataset.path} has {len(index)} images and no object in them "
                f"({some:,} of all {len(prepared.objects):,} have one); cut it otherwise with --val or --data.seed"
            )
    _check_detector(prepared.config)
    if prepared.config.model.sparse:
        raise refusal("--sparse", "left out where objects are to be found", prepared.config.model.sparse)
    for name in ("name", "class_weights"):
        if getattr(prepared.config.loss, name) is not None:
            raise refusal(
                f"--loss.{name}",
                "left out for a detector, which has losses of its own",
                getattr(prepared.config.loss, name),
            )


def _check_detector(config: Config) -> None:
    """Refuse settings of other detectors than the one that is to be trained."""
    entry = find_detector(config.model.name or "")
    for name, value in vars(config.detect).items():
        if name in DETECTOR_OPTIONS and value is not None and name not in entry.options:
            takes = ", ".join(f"detect.{one}" for one in entry.options if hasattr(config.detect, one)) or "none of them"
            raise refusal(f"--detect.{name}", f"left out for {config.model.name}, which takes {takes}", value)
    if config.model.width is not None:
        raise refusal("--model.width", "left out for a detector", config.model.width, do="see --detect.width")


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
        if isinstance(targets, Tensor):
            renamed = places[targets]
        else:
            renamed = [replace(one, labels=places[one.labels]) for one in targets]
        dataset = replace(dataset, targets=renamed, classes=signature.classes)
    empty = torch.empty(0, dtype=torch.long)
    split = Split(train=empty, val=empty, test=index, how=message("split.all", "all samples"))
    scaled = dataset.targets
    if signature.target_scale is not None:
        scaled = TargetScaler.from_dict(signature.target_scale).transform(dataset.targets)
    prepared = Prepared(config, dataset, split, signature, scaled, pick_device(config.device))
    if signature.columns is not None:
        prepared.columns = ColumnEncoder.from_dict(signature.columns).transform(frame_of(dataset), dataset.path)
    elif dataset.kind in ("images", "files"):
        colour = "grey" if signature.channels == 1 else "rgb"
        settings = {"size": signature.canvas, "colour": colour, "memory": config.data.memory, "fit": signature.fit}
        prepared.images = image_inputs(dataset, **settings)
        prepared.scaled = _objects(dataset, signature.canvas or 1, signature.fit) or scaled
    else:
        raise refusal("DATA", "images", f"{dataset.path}, which holds columns")
    return prepared


def _augmentation(config: Config, dataset: Dataset) -> Config:
    channels = 1 if config.data.colour == "grey" else 3
    shape = {"size": config.data.size, "channels": channels}
    if dataset.task in OBJECTS:
        return replace(config, augment=resolve_objects(config.augment, **shape))
    return replace(config, augment=resolve(config.augment, classes=len(dataset.classes), **shape))


def _prepare_images(
    config: Config, dataset: Dataset, split: Split, device: torch.device, start: Signature | None
) -> Prepared:
    size, colour = config.data.size, config.data.colour
    if size < 4:
        raise refusal("--size", "at least 4 pixels", size)
    objects = dataset.task in OBJECTS
    crops = dataset.kind == "files" and config.augment.area is not None and size >= 64 and not objects
    canvas = round(size * CANVAS) if crops else size
    fit = config.detect.fit if objects else "crop"
    images = image_inputs(
        dataset,
        size=canvas,
        colour=colour,
        memory=config.data.memory,
        cache=config.data.cache,
        workers=config.data.workers or None,
        fit=fit,
    )
    if images.void:
        keep = torch.ones(len(dataset), dtype=torch.bool)
        keep[images.void] = False
        split = replace(split, train=split.train[keep[split.train]], val=split.val[keep[split.val]])
        split = replace(split, test=split.test[keep[split.test]])
    seen = split.train[:: -(-len(split.train) // (STATISTICS_FROM if config.data.memory else 512))]
    mean, std = channel_statistics(images.some(seen.tolist()))
    if start is not None and start.channels == len(mean):  # trained weights expect their inputs as they were
        mean, std = start.mean, start.std
    elif not config.data.standardise:
        mean, std = (0.0,) * len(mean), (1.0,) * len(mean)
    statistics = {"channels": len(mean), "mean": mean, "std": std}
    return _finish(config, dataset, split, device, images=images, canvas=canvas, fit=fit, **statistics)


def _objects(dataset: Dataset, canvas: int, fit: Fit) -> ObjectSet | None:
    if isinstance(dataset.targets, Tensor):
        return None
    return ObjectSet(dataset.targets, placements(dataset, canvas, fit), masks=dataset.task == "segment")


def _prepare_table(config: Config, dataset: Dataset, split: Split, device: torch.device) -> Prepared:
    frame = frame_of(dataset)
    kind, _, column = config.data.split.partition(":")
    unlearnt = {column: NOT_LEARNT[kind]} if kind in NOT_LEARNT else {}
    encoder = ColumnEncoder.fit(frame.iloc[split.train.numpy()], unlearnt)
    dataset = replace(dataset, notes=[*dataset.notes, *encoder.notes])
    columns = encoder.transform(frame)
    return _finish(config, dataset, split, device, columns=columns, encoder=encoder)


def _finish(
    config: Config,
    dataset: Dataset,
    split: Split,
    device: torch.device,
    *,
    images: Images | None = None,
    canvas: int | None = None,
    fit: Fit = "crop",
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
        size=config.data.size if images is not None else None,
        canvas=canvas,
        mean=mean,
        std=std,
        inputs=columns.shape[1] if columns is not None else None,
        columns=encoder.to_dict() if encoder is not None else None,
        target_scale=scale,
        backbone=config.detect.backbone,
        fit=fit,
    )
    targets = _objects(dataset, canvas or 1, fit) or targets
    return Prepared(config, dataset, split, signature, targets, device, images=images, columns=columns)


TRAINING_ONLY = ("name", "pretrained", "sparse", "sparse_refine")  # the trained network is built without them


def model_options(config: Config) -> dict[str, object]:
    """The settings of the network that the user changed; the rest is the network's own."""
    fresh = type(config.model)()
    values = {k: getattr(config.model, k) for k in vars(fresh) if k not in TRAINING_ONLY}
    options = {k: v for k, v in values.items() if v != getattr(fresh, k)}
    return options | {k: v for k, v in vars(config.detect).items() if k in DETECTOR_OPTIONS and v is not None}


def build_network(prepared: Prepared, seed: int) -> nn.Module:
    """The network as its training begins: weights drawn from the seed, those of `--init` in their place, and what
    `--freeze` names frozen."""
    torch.manual_seed(seed)
    model = network(prepared.signature, pretrained=prepared.config.model.pretrained)
    if prepared.transfer is not None:
        prepared.transfer.fill(model)
    freeze(model, frozen_parts(model, prepared.config.transfer.freeze or ()))
    return model


def network(signature: Signature, pretrained: bool = False) -> nn.Module:
    """The network a signature describes, with fresh weights, or published ones."""
    if signature.task in OBJECTS:
        return _detector(signature, pretrained)
    return build_model(
        signature.model,
        channels=signature.channels or 1,
        size=signature.size or 1,
        classes=signature.outputs,
        inputs=signature.inputs,
        pretrained=pretrained,
        **signature.options,
    )


def _detector(signature: Signature, pretrained: bool) -> nn.Module:
    """A detector; its options are those of the table of detectors, and the rest are its backbone's."""
    entry = find_detector(signature.model)
    own = {k: v for k, v in signature.options.items() if k in entry.options}
    rest = {k: v for k, v in signature.options.items() if k not in entry.options}
    size = signature.size or 1
    if entry.backbone is None:  # it brings its own
        if signature.backbone:
            raise refusal("--backbone", f"left out for {signature.model}, which has its own", signature.backbone)
        options = signature.options | ({"pretrained": True} if pretrained else {})
        return build_detector(signature.model, None, classes=len(signature.classes), size=size, **options)
    name = signature.backbone or entry.backbone
    if pretrained:
        rest["pretrained"] = True
    backbone = build_backbone(name, channels=signature.channels or 3, size=size, **rest)
    return build_detector(signature.model, backbone, classes=len(signature.classes), size=size, **own)


def _transfer(prepared: Prepared, source: Source | None) -> None:
    """What of the source fits, what is frozen and how the rates differ: decided, and said beside the choices."""
    settings, signature = prepared.config.transfer, prepared.signature
    model = network(signature)

    def say(key: str, value: object, reason: Message) -> None:
        prepared.choices.append(Choice(key, value, reason))

    if source is not None:
        names = "classes" if signature.classes else "target_names"
        wider = network(replace(signature, **{names: (*getattr(signature, names), "one more")}))
        prepared.transfer = match(source, model, wider, signature)
        said = prepared.transfer.sentences()
        if signature.mean and source.signature is not None and source.signature.mean == signature.mean:
            said.append(message("transfer.normalisation", "images are normalised by the source's mean and std"))
        if signature.columns and source.signature is not None and source.signature.columns:
            then, now = (ColumnEncoder.from_dict(one.columns or {}).names for one in (source.signature, signature))
            if then != now:
                text = "the source had other columns ({columns}, ...): the first layer must be trained from scratch"
                said.append(message("transfer.other_columns", text, columns=then[:6]))
        say("transfer.init", settings.init, clauses(said))
    if settings.freeze:
        parts = frozen_parts(model, settings.freeze)
        freeze(model, parts)
        total = sum(p.numel() for p in model.parameters())
        kept = sum(p.numel() for p in model.parameters() if not p.requires_grad)
        reason = message(
            "transfer.frozen",
            "{frozen:,} of {total:,} weights stay fixed: {parts}",
            frozen=kept,
            total=total,
            parts=parts,
        )
        say("transfer.freeze", ",".join(settings.freeze), reason)
    if settings.layer_decay < 1:
        shares = sorted(set(rate_shares(model, settings.layer_decay).values()))
        listed = [f"{share:.3g}" for share in shares]
        reason = message("transfer.layer_decay", "learning-rate factors from input to head: {factors}", factors=listed)
        say("transfer.layer_decay", settings.layer_decay, reason)


def _probed(model: nn.Module) -> nn.Module:
    """What gives one tensor: of a detector its backbone, where most of its work is done."""
    return model.backbone if isinstance(model, Detector) else model  # type: ignore[return-value]


def _choose_format(prepared: Prepared) -> None:
    """Precision and memory format, by a probe of the actual network on the actual machine."""
    config, device = prepared.config, prepared.device
    probe = build_network(prepared, config.seed)  # also says now, not later, when the network cannot be built
    dense = sparsify(probe, config.model)
    if config.model.sparse:
        reason = message("choice.sparse_all", "two of every four input channels, in all layers")
        if dense:
            text = "two of every four input channels; these layers stay dense: {dense}"
            reason = message("choice.sparse", text, dense=dense)
        prepared.choices.append(Choice("model.sparse", config.model.sparse, reason))
    if config.precision is not None and config.channels_last is not None:
        return
    if prepared.images is None or not any(isinstance(m, nn.Conv2d) for m in probe.modules()):
        precision, channels_last = "fp32", False
        reason = message("choice.precision.no_convolutions", "no convolutions to speed up")
    elif config.precision is not None or config.channels_last is not None:
        precision, channels_last = "fp32", config.precision in ("bf16", "fp16")
        reason = message("choice.precision.given", "matches the given setting")
    elif device.type == "cuda":
        precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        channels_last, reason = True, message("choice.precision.tensor_cores", "tensor cores")
    else:
        signature = prepared.signature
        batch = min(config.batch_size, 128)
        inputs = torch.randn(batch, signature.channels, signature.size, signature.size, device=device)
        found = probe_format(lambda: _probed(build_network(prepared, config.seed)), inputs)
        precision, channels_last, reason = found.precision, found.channels_last, found.reason
    for key, value in (("precision", precision), ("channels_last", channels_last)):
        if getattr(config, key) is None:
            prepared.config = with_values(prepared.config, {key: value})
            prepared.choices.append(Choice(key, value, reason))
