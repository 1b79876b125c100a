"""Check that settings fit the data and each other, before any training."""

from __future__ import annotations

from danlu.config import DetectConfig, ResolvedConfig, get, keys
from danlu.data.label_maps import MapSet
from danlu.data.object_set import ObjectSet
from danlu.detection.detector_table import DETECTOR_OPTIONS, find_detector
from danlu.engine.device import check_precision
from danlu.learning.losses import build_loss
from danlu.learning.schedules import build_schedule
from danlu.message import message
from danlu.preparation.encode import Encoded
from danlu.preparation.network_task import check_network_task
from danlu.preparation.own_checks import check_own
from danlu.preparation.prepared import Prepared
from danlu.refuse import Refusal, refusal
from danlu.segmentation.segmenter_table import find_segmenter
from danlu.user_objects import is_own

CHECKED_MAPS = 256  # training label maps that are searched for a pixel with a class


def check_objects(config: ResolvedConfig, encoded: Encoded) -> None:
    """Refuse settings of detectors for other tasks, and settings or data that a detector cannot train with."""
    objects = encoded.targets
    if isinstance(objects, MapSet):
        _check_maps(config, encoded, objects)
        return
    if not isinstance(objects, ObjectSet):
        fresh = DetectConfig()
        for name, value in vars(config.detect).items():
            if value != getattr(fresh, name):
                raise refusal(
                    f"--detect.{name}",
                    message("preparation.wanted.omitted_tasks_without_objects", "omitted for tasks without objects"),
                    value,
                )
        return
    for split, index in (("training", encoded.split.train), ("validation", encoded.split.val)):
        if len(index) and not any((~objects.annotations[i].ignore).any() for i in index.tolist()):
            with_objects = sum(bool((~one.ignore).any()) for one in objects.annotations)
            raise Refusal(
                message(
                    "preparation.refuse.set_object_images_all",
                    "the {split} set of {path} has no object in its {index} images ({with_objects:,} of all "
                    "{objects:,} images have one); change the split by --val or --data.seed",
                    split=split,
                    path=encoded.dataset.path,
                    index=len(index),
                    with_objects=with_objects,
                    objects=len(objects),
                )
            )
    _check_detector(config)
    if config.model.sparse:
        raise refusal(
            "--sparse", message("preparation.wanted.omitted_detectors", "omitted for detectors"), config.model.sparse
        )
    for name in ("name", "class_weights"):
        value = getattr(config.loss, name)
        if value is not None:
            raise refusal(
                f"--loss.{name}",
                message(
                    "preparation.wanted.omitted_detectors_their_own",
                    "omitted for detectors, which have their own losses",
                ),
                value,
            )


def _check_maps(config: ResolvedConfig, encoded: Encoded, maps: MapSet) -> None:
    """Refuse settings that label maps do not support, and training images without a pixel that has a class."""
    spec, fresh = find_segmenter(config.model.name), DetectConfig()
    for name, value in vars(config.detect).items():
        taken = ("fit", "backbone", *spec.options)
        if value != getattr(fresh, name) and name not in taken:
            omitted = message("preparation.wanted.omitted_for", "omitted for {model}", model=config.model.name)
            raise refusal(f"--detect.{name}", omitted, value)
    if config.detect.backbone and not spec.any_backbone:
        omitted = message(
            "preparation.wanted.backbone_omitted", "omitted for {model}, which has its own", model=config.model.name
        )
        raise refusal("--backbone", omitted, config.detect.backbone)
    if (config.data.side or 0) % spec.multiple:
        multiple = message(
            "preparation.wanted.size_multiple",
            "a multiple of {multiple} for {model}",
            multiple=spec.multiple,
            model=config.model.name,
        )
        raise refusal("--size", multiple, config.data.size)
    unsupported = message("preparation.wanted.omitted_semantic", "omitted for --task semantic")
    for flag, value in (("--sparse", config.model.sparse), ("--transfer.head-first", config.transfer.head_first)):
        if value:
            raise refusal(flag, unsupported, value)
    if config.model.width is not None:
        see = message("preparation.do.see_width", "see --detect.width")
        raise refusal("--model.width", unsupported, config.model.width, do=see)
    counts = maps.pixel_counts(encoded.split.train[:CHECKED_MAPS], len(encoded.dataset.classes))
    if not counts[:-1].any():
        raise Refusal(
            message(
                "preparation.refuse.all_pixels_ignored",
                "no pixel of the training images of {path} has a class: all are ignored",
                path=encoded.dataset.path,
            )
        )


def check_training(prepared: Prepared) -> None:
    """Refuse invalid losses, schedules and number formats, and settings that would have no effect."""
    config = prepared.config
    if prepared.objects is None and prepared.dataset.task_spec.targets != "none":
        build_loss(config.loss, prepared.class_counts, prepared.dataset.task)
    build_schedule(config.schedule, config.epochs, 1.0)
    check_precision(config.precision, prepared.device)
    if not len(prepared.split.val):
        for thing, given in (
            ("--schedule", config.schedule.name == "plateau"),
            ("--regularise.patience", config.regularise.patience),
        ):
            if given:
                raise Refusal(
                    message(
                        "preparation.refuse.depends_validation_metric_validation",
                        "{thing} depends on the validation metric, but there is no validation set; see --val",
                        thing=thing,
                    )
                )
    if is_own(config.model.name) or is_own(config.loss.name):
        check_own(prepared)
    if prepared.images is None:
        for key in (
            *(k for k in keys() if k.startswith("augment.")),
            "data.size",
            "data.tokens",
            "data.colour",
            "data.cache",
            "tta",
        ):
            value = get(config, key)
            if value not in (None, False, "none"):
                raise refusal(
                    f"--{key}",
                    message("preparation.wanted.omitted_tables_images", "omitted for tables, as it is for images"),
                    value,
                )


def _check_detector(config: ResolvedConfig) -> None:
    """Refuse detectors of another task and settings of other detectors."""
    check_network_task(config.model.name, config.task)
    spec = find_detector(config.model.name)
    for name, value in vars(config.detect).items():
        if name in DETECTOR_OPTIONS and value is not None and name not in spec.options:
            takes = [f"detect.{one}" for one in spec.options if hasattr(config.detect, one)] or (
                message("preparation.none_of_them", "none of them"),
            )
            raise refusal(
                f"--detect.{name}",
                message(
                    "preparation.wanted.omitted_takes",
                    "omitted for {name}, which takes {takes}",
                    name=config.model.name,
                    takes=takes,
                ),
                value,
            )
    if config.model.width is not None:
        raise refusal(
            "--model.width",
            message("preparation.wanted.omitted_detectors", "omitted for detectors"),
            config.model.width,
            do=message("preparation.do.see_width", "see --detect.width"),
        )
