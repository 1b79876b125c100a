"""Networks of timm and torchvision behind one door: the only file that imports them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from danlu.models.backbone import Backbone
from danlu.models.parts import norm_layer, shifts
from danlu.refuse import Failure, choose, refusal

# torchvision's networks with auxiliary classifiers: their first block, then the classifiers.
AUXILIARY = {"inception_v3": ("Conv2d_1a_3x3", "AuxLogits"), "googlenet": ("conv1", "aux1", "aux2")}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue


def defining_module(library: str, name: str) -> str:
    """Python module in which timm or torchvision defines a network, as "resnet"; "" where it has no such network."""
    try:
        if library == "timm":
            import timm

            build = timm.model_entrypoint(name.partition(".")[0])
        else:
            import torchvision

            build = torchvision.models.get_model_builder(name)
    except (KeyError, RuntimeError, ValueError):
        return ""
    return build.__module__.rpartition(".")[2]


def timm_model(
    name: str,
    channels: int,
    size: int,
    classes: int,
    *,
    pretrained: bool = False,
    dropout: float | None = None,
    norm: str | None = None,
) -> nn.Module:
    """timm's network of that name for channels x size x size images. pretrained: with its published weights.

    norm: in place of its batch norms.
    """
    import timm

    bare = name.partition(".")[0]  # resnet18.a1_in1k names one set of weights of resnet18
    choose("--model", bare, timm.list_models(), "a network of timm")
    options: dict[str, Any] = {} if dropout is None else {"drop_rate": dropout}
    published = timm.get_pretrained_cfg(bare)
    if published is not None and published.fixed_input_size:
        options["img_size"] = size
    try:
        model = timm.create_model(name, pretrained=pretrained, in_chans=channels, num_classes=classes, **options)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise _no_weights(f"timm/{name}", error) if pretrained else _no_fit(f"timm/{name}", size, error) from None
    except TypeError:  # of timm's networks nearly all have dropout, not all
        if dropout is None:
            raise
        raise refusal("model.dropout", f"left out for timm/{name}, which has none", dropout) from None
    replace_norms(model, norm, f"timm/{name}", pretrained)
    return _that_fits(model, f"timm/{name}", channels, size)


@dataclass(frozen=True)
class Published:
    """Published weights as they are: channels of the input, and the mean and std they were trained with."""

    state: dict[str, Tensor]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def timm_weights(name: str, size: int) -> Published:
    """The published weights of timm's network of that name, fitted to images of `size` (a download).

    Failure when they cannot be had.
    """
    import timm

    bare = name.partition(".")[0]
    choose("--model", bare, timm.list_models(), "a network of timm")
    published = timm.get_pretrained_cfg(name)
    if published is None or not published.has_weights:
        raise refusal("--model", "a network of timm with published weights", name, near=timm.list_pretrained())
    options = {"img_size": size} if published.fixed_input_size else {}
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it counts its attempts aloud
    try:
        model = timm.create_model(name, pretrained=True, **options)
    except OSError:  # what the library says of a download that failed is a paragraph
        raise Failure(
            f"the published weights of timm/{name} are not here and could not be downloaded; "
            "check the network connection, or name a file that holds them by --init"
        ) from None
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _no_weights(f"timm/{name}", error) from None
    return Published(model.state_dict(), published.input_size[0], tuple(published.mean), tuple(published.std))


def timm_levels(model: Any) -> list[list[str]]:
    """Parameter names of a timm network by depth, as timm groups them; the head last."""
    from timm.models import group_parameters

    grouped: dict[Any, list[str]] = group_parameters(model, model.group_matcher(coarse=True))
    return [grouped[place] for place in sorted(grouped)]


class TimmBackbone(Backbone):
    """The stages of a timm network, without its head."""

    def __init__(self, network: nn.Module) -> None:
        info: Any = network.feature_info
        super().__init__({}, nn.Identity(), info.channels(), info.reduction())
        self.stage_names = tuple(info.module_name())
        self.network = network

    def features(self, x: Tensor) -> list[Tensor]:
        return self.network(x)


def timm_backbone(
    name: str, channels: int, size: int, *, pretrained: bool = False, norm: str | None = None
) -> TimmBackbone:
    """timm's network of that name for its features alone: one map per stride. norm: in place of its batch norms."""
    import timm

    bare = name.partition(".")[0]
    choose("--model", bare, timm.list_models(), "a network of timm")
    try:
        network = timm.create_model(name, pretrained=pretrained, in_chans=channels, features_only=True)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        if pretrained:
            raise _no_weights(f"timm/{name}", error) from None
        with_stages = timm.list_models(filter="resne*")
        raise refusal("--model", "a network of timm that gives its stages", name, near=with_stages) from None
    replace_norms(network, norm, f"timm/{name}", pretrained)
    return TimmBackbone(_that_fits(network, f"timm/{name}", channels, size))


def torchvision_model(
    name: str, channels: int, size: int, classes: int, *, pretrained: bool = False, norm: str | None = None
) -> nn.Module:
    """torchvision's classification network of that name. pretrained: its newest published weights (a download).

    Its input is rebuilt for other than 3 channels, and with published weights its output for `classes`. norm: in place
    of its batch norms.
    """
    import torchvision

    choose("--model", name, torchvision.models.list_models(torchvision.models), "a network of torchvision")
    options: dict[str, Any] = {}
    if name.startswith("vit_"):
        options["image_size"] = size
    if name == "maxvit_t":
        options["input_size"] = (size, size)
    if name in AUXILIARY:
        options |= {"init_weights": False} | ({"transform_input": False} if pretrained else {"aux_logits": False})
    try:
        if pretrained:
            model = torchvision.models.get_model(name, weights="DEFAULT", **options)
            _without_extras(model, name)
            _replace_last(model, classes)
        else:
            model = torchvision.models.get_model(name, num_classes=classes, **options)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise (
            _no_weights(f"torchvision/{name}", error) if pretrained else _no_fit(f"torchvision/{name}", size, error)
        ) from None
    if channels != 3:
        _replace_first(model, channels, pretrained)
    replace_norms(model, norm, f"torchvision/{name}", pretrained)
    return _that_fits(model, f"torchvision/{name}", channels, size)


def torchvision_inception_v3(
    channels: int, size: int, classes: int, *, pretrained: bool = False, aux: bool = False
) -> nn.Module:
    """torchvision's Inception v3. aux: with its auxiliary classifier, which no published weights are given for."""
    if not aux:
        return torchvision_model("inception_v3", channels, size, classes, pretrained=pretrained)
    import torchvision

    model = torchvision.models.inception_v3(num_classes=classes, aux_logits=True, init_weights=False)
    if channels != 3:
        _replace_first(model, channels, keep=False)
    return _that_fits(model, "inception-v3", channels, size)


def _without_extras(model: Any, name: str) -> None:
    """Take the auxiliary classifiers off the published networks that have them, and the scaling of their inputs in.

    torchvision has a switch for that scaling, which is not among the weights: a network built anew would lack it.
    """
    if name not in AUXILIARY:
        return
    first, *classifiers = AUXILIARY[name]
    for part in classifiers:
        setattr(model, part, None)
    model.aux_logits = False
    block = getattr(model, first)
    fold_in_scale(block.conv, block.bn)


@torch.no_grad()
def fold_in_scale(first: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Let weights that were trained on images scaled by 0.5 and 0.5 take those standardised by ImageNet's mean and
    std: x STD / 0.5 + (MEAN - 0.5) / 0.5 goes into the kernels and the mean of the norm behind them, which is the same
    but where zeros are padded."""
    scale, shift = torch.tensor(STD) / 0.5, (torch.tensor(MEAN) - 0.5) / 0.5
    norm.running_mean.sub_((first.weight.sum((2, 3)) * shift).sum(1))  # type: ignore[union-attr]
    first.weight.mul_(scale.view(1, 3, 1, 1))


def replace_norms(model: nn.Module, norm: str | None, name: str, pretrained: bool = False) -> None:
    """Another normalisation in place of every batch norm of a library's network, in place; None leaves it as it is.

    timm's batch norms carry their activation, which stays. Where the new norm brings no shift, the layer before it gets
    a bias. Refusal with published weights, and for a network without batch norm. name: of the network, to be told.
    """
    norms = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    if norm is not None and not norms:
        raise refusal("model.norm", f"left out for {name}, which has no batch norm", norm)
    if norm in (None, "batch"):
        return
    if pretrained:
        raise refusal("model.norm", "batch with published weights", norm)
    before = None
    for path, layer in list(model.named_modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            before = layer
        if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        flat = isinstance(layer, nn.BatchNorm1d)
        parts = [norm_layer(norm, layer.num_features, flat=flat), getattr(layer, "act", nn.Identity())]
        model.set_submodule(path, nn.Sequential(*(part for part in parts if not isinstance(part, nn.Identity))))
        if before is not None and before.bias is None and not shifts(norm):
            before.bias = nn.Parameter(before.weight.new_zeros(before.weight.shape[0]))


def _replace_first(model: nn.Module, channels: int, keep: bool) -> None:
    """A first convolution for `channels`. keep: its weights are the mean over the colours, at the same output scale."""
    name, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    shape: Any = (channels, old.out_channels, old.kernel_size, old.stride, old.padding)
    new = nn.Conv2d(*shape, bias=old.bias is not None)
    if keep:
        with torch.no_grad():
            new.weight.copy_(old.weight.mean(1, keepdim=True) * (old.in_channels / channels))
            if old.bias is not None and new.bias is not None:
                new.bias.copy_(old.bias)
    model.set_submodule(name, new)


def _replace_last(model: nn.Module, classes: int) -> None:
    """A new last layer, dense or 1x1 convolution, for `classes`."""
    name, old = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    if isinstance(old, nn.Linear):
        model.set_submodule(name, nn.Linear(old.in_features, classes))
    else:
        model.set_submodule(name, nn.Conv2d(old.in_channels, classes, old.kernel_size))  # type: ignore[arg-type]


def _that_fits(model: nn.Module, name: str, channels: int, size: int) -> nn.Module:
    """The model, once it has taken one blank image: the library's own checks differ from network to network."""
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, channels, size, size))
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise _no_fit(name, size, error) from None
    return model.train()


def _no_fit(name: str, size: int, error: Exception) -> Exception:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return refusal("data.size", f"an image size that {name} takes ({reason})", size, do="try 224")


def _no_weights(name: str, error: Exception) -> Exception:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return Failure(f"the published weights of {name} could not be had: {reason}")
