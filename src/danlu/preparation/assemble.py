"""Assemble a training from prepared data: network, optimiser, schedule and batches on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from danlu.config import Config, ResolvedConfig
from danlu.data.augmentation.augment import Augment, Normalise, views
from danlu.data.augmentation.augment_maps import AugmentMaps
from danlu.data.augmentation.augment_objects import AugmentObjects
from danlu.data.augmentation.grids import GridAugment
from danlu.data.batches import Batches, Columns, Transform
from danlu.data.clips import CLIP_CHANNELS, ClipTransform
from danlu.data.columns import TargetScaler
from danlu.detection.detector import Detector
from danlu.detection.pose_detector import PoseDetector
from danlu.engine.device import in_precision, set_determinism
from danlu.engine.loop import Plan
from danlu.engine.norm_statistics import MAX_BATCHES, NormStatistics, has_updated_norms
from danlu.learning.optim import build_optimizer
from danlu.learning.regularise import DropoutSchedule, WeightAverage, WeightConstraints
from danlu.learning.schedules import Plateau, build_schedule
from danlu.learning.sparse import decay_pruned, sparsify
from danlu.message import translated
from danlu.models.folding import fold_frozen_norms
from danlu.models.packaged import PACKAGED
from danlu.pose.alignment import QUICK
from danlu.preparation.freezing import lr_factors, trains_only_head
from danlu.preparation.head_first import fit_head, probe_samples
from danlu.preparation.networks import build_network
from danlu.preparation.own_transform import around
from danlu.preparation.prepared import Prepared
from danlu.pretraining.methods import METHODS
from danlu.pretraining.pretrainer import Pretrainer
from danlu.pretraining.views import ViewPair
from danlu.progress.stages import stage
from danlu.tasks.task import Task, TaskData, ViewFunction
from danlu.tasks.task_classes import build_task
from danlu.user_objects import find, is_own

if TYPE_CHECKING:
    from lightning_fabric import Fabric

JUDGED_IMAGES = 64  # by which it is decided whether poses are aligned with the pixels
MAX_EVALUATED_MAPS = 16  # images of an evaluation batch of semantic segmentation
MAX_EVALUATED_SCENES = 64  # images with objects of an evaluation batch, whose detections may take seconds each


def make_task(prepared: Prepared) -> Task:
    """The task of prepared data, with its loss."""
    data = TaskData(
        prepared.config,
        classes=prepared.dataset.classes,
        class_counts=prepared.class_counts,
        thresholds=prepared.signature.thresholds,
        temperature=prepared.signature.temperature,
        objects=prepared.objects,
        maps=prepared.maps,
        target_scaler=TargetScaler.from_dict(prepared.signature.target_scale or {}),
        metrics=find("metrics", ",".join(prepared.config.metrics)) if prepared.config.metrics else None,
    )
    return build_task(prepared.dataset.task, data)


def transforms(prepared: Prepared, search: Callable[[Tensor], Tensor] | None = None) -> tuple[Transform, Transform]:
    """Transforms of training and of evaluation batches. search: finds region proposals (`Detector.search`)."""
    return around(prepared.signature, *_own_transforms(prepared, search))


def _own_transforms(
    prepared: Prepared, search: Callable[[Tensor], Tensor] | None = None
) -> tuple[Transform, Transform]:
    """danlu's own, before or after which the user's is applied."""
    if prepared.images is None:
        return Columns(), Columns()
    config, signature = prepared.config, prepared.signature
    shape = signature.normalisation
    channels = signature.channels or 1
    if prepared.objects is not None:
        poses = signature.task_spec.poses
        augment = AugmentObjects(config.augment, channels=channels, search=search, poses=poses, **shape)
        return augment, Normalise(**shape)
    if prepared.maps is not None:
        return AugmentMaps(config.augment, channels=channels, **shape), Normalise(**shape)
    classes = len(signature.classes)
    if prepared.dataset.task_spec.targets == "none" and METHODS[config.pretrain.method or ""].views:
        augment = Augment(config.augment, channels=channels, classes=0, **shape)
        pair = ViewPair(augment, Normalise(**shape), signature.mean, signature.std)
        return pair, pair
    if signature.frames is not None:
        augment = Augment(config.augment, channels=CLIP_CHANNELS, classes=classes, **shape)
        return ClipTransform(augment, signature.frames), ClipTransform(Normalise(**shape), signature.frames)
    kind = Augment if signature.tokens is None else GridAugment
    return kind(config.augment, channels=channels, classes=classes, **shape), Normalise(**shape)


def make_batches(prepared: Prepared, index: Tensor, transform: Transform, **settings: Any) -> Batches:
    """Batches of the samples `index` on the device of the training. settings: of `Batches`, as batch_size."""
    inputs = prepared.inputs
    if isinstance(inputs, Tensor) and prepared.config.data.memory:
        inputs = inputs.to(prepared.device)
    return Batches(
        inputs,
        prepared.targets.to(prepared.device),
        index,
        transform=transform,
        decode=prepared.decoder,
        workers=prepared.config.data.workers,
        **settings,
    )


def evaluation_batches(prepared: Prepared, index: Tensor, fabric: Fabric) -> Batches:
    """Batches of the samples `index` without augmentation, in order; this process's fraction of each batch."""
    _, normalise = transforms(prepared)
    size = min(max(prepared.config.batch_size, 256), 1024)
    if prepared.maps is not None:  # the outputs are as large as the images
        size = max(1, min(prepared.config.batch_size, MAX_EVALUATED_MAPS))
    elif prepared.objects is not None:
        size = MAX_EVALUATED_SCENES
    return make_batches(prepared, index, normalise, batch_size=size, rank=fabric.global_rank, world=fabric.world_size)


def _probe_batches(prepared: Prepared) -> tuple[Batches, Batches | None]:
    """The training samples that the last layer is fitted to, the same ones in every process.

    The second are the same samples as they are augmented in training, where only the head is trained on them.
    """
    augment, normalise = transforms(prepared)
    config, index = prepared.config, probe_samples(prepared.split.train)
    size = min(max(config.batch_size, 64), 1024)
    plain = make_batches(prepared, index, normalise, batch_size=size)
    if not trains_only_head(config.transfer.freeze) or config.augment.mixup or config.augment.cutmix:
        return plain, None
    return plain, make_batches(prepared, index, augment, batch_size=size, seed=config.seed)


def _judge_alignment(module: PoseDetector, prepared: Prepared) -> None:
    """Show a network of poses some training images, evenly spaced, the same ones in every process."""
    train = prepared.split.train
    some = train[:: max(1, len(train) // JUDGED_IMAGES)][:JUDGED_IMAGES]
    for batch in make_batches(prepared, some, transforms(prepared)[1], batch_size=JUDGED_IMAGES).epoch():
        module.judge_alignment(batch.inputs, batch.targets)


def evaluation_views(config: Config) -> ViewFunction | None:
    """Function from images to their versions for test-time augmentation; None without `tta`."""
    return (lambda images: views(images, config.augment)) if config.tta else None


def make_plan(prepared: Prepared, fabric: Fabric, *, restored: bool = False) -> Plan:
    """Network, optimiser, schedule and batches, on the device of a launched fabric.

    restored: the caller loads the weights of a checkpoint next, so that the head is not fitted to the features.
    """
    config = prepared.config
    prepared = replace(prepared, device=fabric.device)
    set_determinism(fabric.device, config.deterministic)
    module = _network(prepared, fabric, restored)
    average = WeightAverage(module, config.optim.ema) if config.optim.ema else None
    optimizer = _optimizer(config, module)
    hooked = _compiled(module) if config.compile else module
    if fabric.world_size > 1:
        training_model, wrapped = fabric.setup(hooked, optimizer)
        hooked = training_model if config.compile else module  # Fabric compiles it again with DDP
    else:
        training_model, wrapped = in_precision(fabric, hooked), fabric.setup_optimizers(optimizer)
    train = _training_batches(prepared, module, fabric)
    norms = _norm_statistics(prepared, module, train) if len(prepared.split.val) else None
    assert isinstance(wrapped, torch.optim.Optimizer)  # Fabric's wrapper is a subclass of the wrapped class
    val = evaluation_batches(prepared, prepared.split.val, fabric) if len(prepared.split.val) else None
    steps = train.batches_per_epoch / config.optim.accumulate
    plateau = Plateau(config.schedule.factor, config.schedule.patience) if config.schedule.name == "plateau" else None
    return Plan(
        fabric=fabric,
        task=make_task(prepared),
        module=module,
        training_model=training_model,
        hooked_module=hooked,
        optimizer=wrapped,
        train=train,
        val=val,
        epochs=config.epochs,
        schedule=build_schedule(config.schedule, config.epochs, steps, config.optim.lr),
        plateau=plateau,
        average=average,
        dropout=_dropout(module, config),
        norms=norms,
        views=evaluation_views(config),
        clip_norm=config.optim.clip_norm,
        clip_value=config.optim.clip_value,
        constraints=_constraints(config),
        patience=config.regularise.patience,
        seed=config.seed,
        log_every=config.log_every,
    )


def _network(prepared: Prepared, fabric: Fabric, restored: bool) -> nn.Module:
    """The network on its device; unless `restored`, with what it takes from training images before training."""
    config = prepared.config
    module = build_network(prepared, config.seed)
    sparsify(module, config.model)
    module = module.to(fabric.device)
    if config.channels_last:
        module = module.to(memory_format=torch.channels_last)
    if config.transfer.init in PACKAGED and not config.compile:  # the compiler folds by itself
        fold_frozen_norms(module)
    if config.transfer.head_first and not restored and len(prepared.split.train):
        with stage(translated("stage.head", "fitting the last layer to the features of the network")):
            fit_head(module, prepared, *_probe_batches(prepared))
    if isinstance(module, Pretrainer) and not restored:
        module.prepare(batch.inputs for batch in evaluation_batches(prepared, prepared.split.train, fabric).epoch())
    if isinstance(module, PoseDetector):
        module.effort = QUICK
        if not restored:
            _judge_alignment(module, prepared)
    return module


def _optimizer(config: ResolvedConfig, module: nn.Module) -> torch.optim.Optimizer:
    """The optimiser, with each group's peak lr kept for the schedule."""
    changes_gradient = (config.optim.clip_norm, config.optim.clip_value, config.model.sparse_refine or None)
    fused = config.precision != "fp16" or all(setting is None for setting in changes_gradient)
    decay = config.transfer.layer_decay
    optimizer = build_optimizer(module, config.optim, fused, lr_factors(module, decay) if decay < 1 else None)
    decay_pruned(module, optimizer, config.model.sparse_refine)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


def _training_batches(prepared: Prepared, module: nn.Module, fabric: Fabric) -> Batches:
    """Shuffled and augmented batches of the training set; of this process its fraction of each."""
    config = prepared.config
    augment, _ = transforms(prepared, module.search if isinstance(module, Detector) else None)
    return make_batches(
        prepared,
        prepared.split.train,
        augment,
        batch_size=config.batch_size,
        seed=config.seed,
        last=config.data.last,
        min_last=2 * fabric.world_size if _has_batch_norm(module) else 1,
        classes=_training_classes(prepared) if config.data.balance else None,
        accumulate=config.optim.accumulate,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )


def _constraints(config: Config) -> WeightConstraints | None:
    optim = config.optim
    if not optim.l1 and optim.max_norm is None:
        return None
    return WeightConstraints(optim.l1, optim.max_norm, optim.decay_all)


def _norm_statistics(prepared: Prepared, module: nn.Module, train: Batches) -> NormStatistics | None:
    """Recomputation of batch norm's statistics where epochs are short; not for detectors and networks of the user."""
    if train.batches_per_epoch >= MAX_BATCHES or is_own(prepared.config.model.name) or prepared.objects is not None:
        return None
    module.train()
    if not has_updated_norms(module):
        return None
    _, normalise = transforms(prepared)
    size, samples = prepared.config.batch_size, prepared.split.train
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(prepared.config.seed))
    kept = max(size, len(samples) - len(samples) % size)  # a small last batch has unreliable statistics
    return NormStatistics(module, make_batches(prepared, samples[order[:kept]], normalise, batch_size=size))


def _has_batch_norm(module: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def _compiled(module: nn.Module) -> nn.Module:
    compiled = torch.compile(module)
    assert isinstance(compiled, nn.Module)
    return compiled


def _training_classes(prepared: Prepared) -> Tensor | None:
    """Class of each training sample (n,), int64; None for objects."""
    targets = prepared.dataset.targets
    return targets[prepared.split.train] if isinstance(targets, Tensor) else None


def _dropout(module: nn.Module, config: Config) -> DropoutSchedule | None:
    when = config.regularise.dropout_when
    return None if when == "always" else DropoutSchedule(module, when, config.regularise.dropout_until)
