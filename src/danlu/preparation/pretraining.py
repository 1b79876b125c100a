"""Settings of pretraining: defaults with their reasons, checks, and the settings that a weights file keeps."""

from __future__ import annotations

from typing import Any

from danlu.config import Config, PretrainConfig, ResolvedConfig
from danlu.learning.optim import find_optimizer
from danlu.message import message
from danlu.models.network_table import find_network
from danlu.preparation.choices import Chooser
from danlu.pretraining.methods import METHODS
from danlu.refuse import refusal
from danlu.task_spec import targets_of

IMAGES_SEEN = 600_000  # over all epochs: minutes on two cores for small images
MIN_EPOCHS, MAX_EPOCHS = 10, 300
WARMUP = 0.1  # fraction of the epochs
MASKED_LR = 1.5e-3  # of adamw, for a batch of 256: ten times that of He et al. 2022, for small networks; not tuned
VIEWS_LR = 1e-3  # of adamw
MOMENTUM_LR = 0.06  # of momentum without negatives, for a batch of 256
BETA2 = 0.95  # He et al. 2022, appendix A.1
SMALL_IMAGE = 16  # pixels, up to which patches have a side of 2
TINY_NETWORK = 16  # pixels, up to which the small convolutional network is enough
MIDDLE_NETWORK = 80  # pixels, up to which a network for 32 pixels is used


def settings_of(config: Config) -> dict[str, Any]:
    """Method and its options, as a weights file keeps them."""
    method = config.pretrain.method or ""
    return {"method": method} | {name: getattr(config.pretrain, name) for name in METHODS[method].options}


def check_pretraining(config: ResolvedConfig) -> None:
    """Refuse settings of another method, and settings of tasks with labels."""
    fresh, method = PretrainConfig(), config.pretrain.method
    if targets_of(config.task) != "none":
        for name, value in vars(config.pretrain).items():
            if value != getattr(fresh, name):
                wanted = message("preparation.wanted.omitted_for_labels", "omitted for tasks with labels")
                do = message("preparation.do.see_pretrain", "see `danlu pretrain`")
                raise refusal(f"--pretrain.{name}", wanted, value, do=do)
        return
    spec = METHODS[method or ""]
    for name, value in vars(config.pretrain).items():
        if name != "method" and name not in spec.options and value != getattr(fresh, name):
            takes = ", ".join(f"pretrain.{one}" for one in spec.options)
            text = "omitted for --method {method}, which takes {takes}"
            wanted = message("preparation.wanted.omitted_for_method", text, method=method, takes=takes)
            raise refusal(f"--pretrain.{name}", wanted, value)
    unused = {
        "--loss": config.loss.name, "--folds": config.data.folds, "--regularise.patience": config.regularise.patience,
        "--tta": config.tta or None, "--data.balance": config.data.balance or None, "--sparse": config.model.sparse,
        "--freeze": config.transfer.freeze, "--augment.mixup": config.augment.mixup or None,
        "--augment.cutmix": config.augment.cutmix or None, "--metrics": config.metrics,
        "--transform": config.data.transform, "--model.aux": config.model.aux or None,
    }  # fmt: skip
    for name, value in unused.items():
        if value is not None:
            wanted = message("preparation.wanted.omitted_for_pretrain", "omitted for `danlu pretrain`")
            raise refusal(name, wanted, value)
    if spec.views and config.batch_size < 2:
        wanted = message("preparation.wanted.two_per_batch", "at least 2 for --method {method}", method=method)
        raise refusal("--batch-size", wanted, config.batch_size)


def choose_pretraining(chooser: Chooser, samples: int) -> None:
    """Method, network, epochs and update rule for `samples` training images."""
    pick = chooser.pick
    network = chooser["model.name"]
    convolutional = network is not None and find_network(network).family != "vit"
    default = "simmim" if convolutional else "mae"
    pick("pretrain.method", default, message("choice.pretrain.method", "fine-tunes well and needs no second view"))
    method = chooser["pretrain.method"]
    spec = METHODS[method]
    if spec.mask is not None:
        pick("pretrain.mask", spec.mask, message("choice.pretrain.mask", "as published for {method}", method=method))
    side = chooser["data.size"] or 0
    if spec.mask is not None:
        pick("model.name", "vit-mini", message("choice.pretrain.transformer", "a small vision transformer"))
    else:
        small = "small-cnn" if side <= TINY_NETWORK else "resnet20" if side <= MIDDLE_NETWORK else "resnet18"
        pick("model.name", small, message("choice.network.images", "images of {side} px", side=side))
    if chooser["model.patch"] is None and find_network(chooser["model.name"]).family == "vit" and side <= SMALL_IMAGE:
        chooser.set(
            "model.patch", 2, message("choice.pretrain.patch", "images of {side} px have few patches", side=side)
        )
    batch = 256 if samples >= 10_000 else 128 if samples >= 2_000 else 64
    reason = message("choice.batch_size.samples", "{samples:,} training samples", samples=samples)
    pick("batch_size", min(batch, samples), reason)
    epochs = max(MIN_EPOCHS, min(MAX_EPOCHS, round(IMAGES_SEEN / max(samples, 1))))
    text = "{samples:,} training samples, about {seen:,} seen in all"
    pick("epochs", epochs, message("choice.epochs.samples", text, samples=samples, seen=epochs * samples))
    _update_rule(chooser, method)
    _views(chooser, spec.views, side)


def _update_rule(chooser: Chooser, method: str) -> None:
    usual = message("choice.pretrain.usual", "usual for {method}", method=method)
    spec = METHODS[method]
    chooser.pick("optim.name", spec.optimizer, usual)
    optimizer = find_optimizer(chooser["optim.name"])
    batch = chooser["batch_size"] / 256
    if optimizer.divisor == "none":
        lr = MOMENTUM_LR * min(1.0, batch)
    else:
        lr = VIEWS_LR if spec.views else MASKED_LR * min(1.0, batch**0.5)
    chooser.pick("optim.lr", round(lr, 6), usual)
    adam_on_masks = optimizer.like_adam and not spec.views
    chooser.pick("optim.weight_decay", 0.05 if adam_on_masks else 5e-4, usual)
    if adam_on_masks and chooser["optim.beta2"] == 0.999:
        chooser.set("optim.beta2", BETA2, usual)
    chooser.pick("schedule.name", "cosine", usual)
    if chooser["schedule.name"] == "cosine" and not chooser["schedule.warmup"]:
        chooser.set("schedule.warmup", round(WARMUP * chooser["epochs"], 2), usual)


def _views(chooser: Chooser, views: bool, side: int) -> None:
    """Augmentation: crops and flips for masked images, strong crops and colours for two views."""
    colour = chooser["data.colour"] == "rgb"
    if chooser["augment.preset"] is not None:
        return
    why = message("choice.pretrain.views", "two views must share what matters only")
    if not views:
        why = message("choice.pretrain.crops", "the mask varies the images; crops and flips are enough")
    chooser.pick("augment.preset", "none", why)
    small = side <= SMALL_IMAGE
    values: dict[str, Any] = {"flip": "lr" if colour else "none"}
    if chooser["augment.pad"] is None:
        values["area"] = (0.6 if small else 0.2, 1.0)
    if views:
        values |= {"brightness": 0.4, "contrast": 0.4}
        values |= {"saturation": 0.4, "hue": 0.1} if colour else {}
    for name, value in values.items():
        chooser.pick(f"augment.{name}", value, why)
