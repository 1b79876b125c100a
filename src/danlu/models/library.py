"""Networks of timm and torchvision. No other file imports these libraries for networks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from danlu.message import message
from danlu.models.backbone import Backbone
from danlu.models.parts import norm_layer, shifts
from danlu.refuse import Failure, one_of, refusal

# torchvision's networks with auxiliary classifiers -> names of their first block and of the classifiers.
AUXILIARY = {"inception_v3": ("Conv2d_1a_3x3", "AuxLogits"), "googlenet": ("conv1", "aux1", "aux2")}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue in ImageNet, pixels in [0, 1]


def defining_module(library: str, name: str) -> str:
    """Return the Python module in which timm or torchvision defines a network, as "resnet"; "" for unknown networks."""
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
    """Build timm's network `name` for images (N, channels, size, size).

    Args:
        pretrained: Load its published weights (a download).
        dropout: Dropout probability; None for the network's own.
        norm: Normalisation that replaces its batch norms.

    Raises:
        Refusal: Unknown name, or a size or option that the network does not accept.
        Failure: The published weights could not be loaded.
    """
    import timm

    bare = name.partition(".")[0]  # resnet18.a1_in1k names one set of weights of resnet18
    one_of("--model", bare, timm.list_models(), message("models.wanted.network_timm", "a network of timm"))
    options: dict[str, Any] = {} if dropout is None else {"drop_rate": dropout}
    published = timm.get_pretrained_cfg(bare)
    if published is not None and published.fixed_input_size:
        options["img_size"] = size
    try:
        model = timm.create_model(name, pretrained=pretrained, in_chans=channels, num_classes=classes, **options)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise _build_error(f"timm/{name}", size, pretrained, error) from None
    except TypeError:  # nearly all of timm's networks have dropout, but not all
        if dropout is None:
            raise
        raise refusal(
            "model.dropout",
            message("models.wanted.omitted_timm_none", "omitted for timm/{name}, which has none", name=name),
            dropout,
        ) from None
    replace_norms(model, norm, f"timm/{name}", pretrained)
    return _check_forward(model, f"timm/{name}", channels, size)


@dataclass(frozen=True)
class Published:
    """Published weights.

    Args:
        state: Parameters and buffers by name.
        channels: Channels of the images they were trained on.
        mean, std: Normalisation of these images, per channel, pixels in [0, 1].
    """

    state: dict[str, Tensor]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def timm_weights(name: str, size: int) -> Published:
    """Load the published weights of timm's network `name`, resized for images of `size` pixels (a download).

    Raises:
        Refusal: Unknown name, or a network without published weights.
        Failure: The download failed.
    """
    import timm

    bare = name.partition(".")[0]
    one_of("--model", bare, timm.list_models(), message("models.wanted.network_timm", "a network of timm"))
    published = timm.get_pretrained_cfg(name)
    if published is None or not published.has_weights:
        raise refusal(
            "--model",
            message("models.wanted.network_timm_published_weights", "a network of timm with published weights"),
            name,
            near=timm.list_pretrained(),
        )
    options: dict[str, Any] = {"img_size": size} if published.fixed_input_size else {}
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs every attempt
    try:
        model = timm.create_model(name, pretrained=True, **options)
    except OSError:  # the library's own message is a paragraph
        raise Failure(
            message(
                "models.refuse.published_weights_timm_available",
                "the published weights of timm/{name} are not available and could not be downloaded; "
                "check the network connection, or give a file of them with --init",
                name=name,
            )
        ) from None
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _weights_failure(f"timm/{name}", error) from None
    return Published(model.state_dict(), published.input_size[0], tuple(published.mean), tuple(published.std))


def timm_levels(model: Any) -> list[list[str]]:
    """Return the parameter names of a timm network grouped by depth as timm groups them, the head last."""
    from timm.models import group_parameters

    grouped: dict[Any, list[str]] = group_parameters(model, model.group_matcher(coarse=True))
    return [grouped[place] for place in sorted(grouped)]


class TimmBackbone(Backbone):
    """Stages of a timm network without its head."""

    def __init__(self, network: nn.Module) -> None:
        info: Any = network.feature_info
        super().__init__({}, nn.Identity(), info.channels(), info.reduction())
        self.stage_names = tuple(info.module_name())
        self.network = network

    def levels(self) -> list[tuple[str, ...]]:
        """Return names of parameters by depth: those up to the end of each stage whose map is read."""
        modules = [name for name, _ in self.network.named_modules()]
        stages = [(name, name.replace(".", "_")) for name in self.stage_names]  # timm flattens some names
        ends = [max(i for i, m in enumerate(modules) if _begins(m, stage)) for stage in stages]
        groups: list[list[str]] = [[] for _ in stages]
        for name, _ in self.network.named_parameters():
            place = modules.index(name.rpartition(".")[0])
            groups[min(sum(end < place for end in ends), len(ends) - 1)].append(f"network.{name}")
        return [tuple(group) for group in groups]

    def features(self, x: Tensor) -> list[Tensor]:
        """Return one map (N, C_i, H_i, W_i) per stage, fine to coarse."""
        return self.network(x)


def _begins(module: str, names: tuple[str, ...]) -> bool:
    """Return whether a dotted name is one of `names` or below it."""
    return any(module == name or module.startswith(name + ".") for name in names)


def timm_backbone(
    name: str, channels: int, size: int, *, pretrained: bool = False, norm: str | None = None
) -> TimmBackbone:
    """Build the stages of timm's network `name`, one map per stride. norm: replaces its batch norms.

    Raises:
        Refusal: Unknown name, or a network without stages.
        Failure: The published weights could not be loaded.
    """
    import timm

    bare = name.partition(".")[0]
    one_of("--model", bare, timm.list_models(), message("models.wanted.network_timm", "a network of timm"))
    try:
        network = timm.create_model(name, pretrained=pretrained, in_chans=channels, features_only=True)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        if pretrained:
            raise _weights_failure(f"timm/{name}", error) from None
        with_stages = timm.list_models(filter="resne*")
        raise refusal(
            "--model",
            message("models.wanted.timm_network_stages", "a timm network with stages"),
            name,
            near=with_stages,
        ) from None
    replace_norms(network, norm, f"timm/{name}", pretrained)
    return TimmBackbone(_check_forward(network, f"timm/{name}", channels, size))


def torchvision_model(
    name: str, channels: int, size: int, classes: int, *, pretrained: bool = False, norm: str | None = None
) -> nn.Module:
    """Build torchvision's classification network `name` for images (N, channels, size, size).

    The first convolution is replaced if channels is not 3, the last layer if the weights are published.

    Args:
        pretrained: Load its newest published weights (a download).
        norm: Normalisation that replaces its batch norms.

    Raises:
        Refusal: Unknown name, or a size or option that the network does not accept.
        Failure: The published weights could not be loaded.
    """
    import torchvision

    one_of(
        "--model",
        name,
        torchvision.models.list_models(torchvision.models),
        message("models.wanted.network_torchvision", "a network of torchvision"),
    )
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
            _remove_auxiliary(model, name)
            _replace_last(model, classes)
        else:
            model = torchvision.models.get_model(name, num_classes=classes, **options)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        raise _build_error(f"torchvision/{name}", size, pretrained, error) from None
    if channels != 3:
        _replace_first(model, channels, pretrained)
    replace_norms(model, norm, f"torchvision/{name}", pretrained)
    return _check_forward(model, f"torchvision/{name}", channels, size)


def torchvision_inception_v3(
    channels: int, size: int, classes: int, *, pretrained: bool = False, aux: bool = False
) -> nn.Module:
    """Build torchvision's Inception v3. aux: with its auxiliary classifier, then without published weights."""
    if not aux:
        return torchvision_model("inception_v3", channels, size, classes, pretrained=pretrained)
    import torchvision

    model = torchvision.models.inception_v3(num_classes=classes, aux_logits=True, init_weights=False)
    if channels != 3:
        _replace_first(model, channels, keep=False)
    return _check_forward(model, "inception-v3", channels, size)


def _remove_auxiliary(model: Any, name: str) -> None:
    """Remove the auxiliary classifiers of published networks and fold their input scaling into the first block.

    torchvision keeps that scaling in a flag outside the weights, which a rebuilt network would lack.
    """
    if name not in AUXILIARY:
        return
    first, *classifiers = AUXILIARY[name]
    for classifier in classifiers:
        setattr(model, classifier, None)
    model.aux_logits = False
    block = getattr(model, first)
    fold_in_scale(block.conv, block.bn)


@torch.no_grad()
def fold_in_scale(first: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Convert weights trained on images normalised by 0.5 and 0.5 to images normalised by ImageNet's mean and std.

    x STD / 0.5 + (MEAN - 0.5) / 0.5 is folded into the kernels and the running mean of the following norm, in place.
    The result is equal except where zeros are padded.
    """
    if norm.running_mean is None:
        raise ValueError("the norm after the first convolution has no running mean")
    scale, shift = torch.tensor(STD) / 0.5, (torch.tensor(MEAN) - 0.5) / 0.5
    norm.running_mean.sub_((first.weight.sum((2, 3)) * shift).sum(1))
    first.weight.mul_(scale.view(1, 3, 1, 1))


def replace_norms(model: nn.Module, norm: str | None, name: str, pretrained: bool = False) -> None:
    """Replace every batch norm of a library's network, in place.

    The activation inside timm's batch norms is kept. If the new norm has no shift, the layer before it gets a bias.

    Args:
        norm: Name of the normalisation; None and "batch" change nothing.
        name: Name of the network in error messages.

    Raises:
        Refusal: Published weights, or a network without batch norm.
    """
    norms = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    if norm is not None and not norms:
        raise refusal(
            "model.norm",
            message("models.wanted.omitted_batch_norm", "omitted for {name}, which has no batch norm", name=name),
            norm,
        )
    if norm in (None, "batch"):
        return
    if pretrained:
        raise refusal(
            "model.norm", message("models.wanted.batch_published_weights", "batch with published weights"), norm
        )
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
    """Replace the first convolution by one for `channels`. keep: use the mean of its kernels over the colours."""
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
    """Replace the last layer, dense or 1x1 convolution, by one for `classes`."""
    name, old = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    if isinstance(old, nn.Linear):
        model.set_submodule(name, nn.Linear(old.in_features, classes))
    else:
        height, width = old.kernel_size[0], old.kernel_size[-1]
        model.set_submodule(name, nn.Conv2d(old.in_channels, classes, (height, width)))


def _check_forward(model: nn.Module, name: str, channels: int, size: int) -> nn.Module:
    """Run one blank image through the model and return it: the libraries' own size checks are incomplete."""
    model.eval()
    try:
        with torch.no_grad():
            model(torch.zeros(1, channels, size, size))
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise _size_refusal(name, size, error) from None
    return model.train()


def _build_error(name: str, size: int, pretrained: bool, error: Exception) -> Exception:
    return _weights_failure(name, error) if pretrained else _size_refusal(name, size, error)


def _size_refusal(name: str, size: int, error: Exception) -> Exception:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return refusal(
        "data.size",
        message(
            "models.wanted.image_size_takes", "an image size that {name} takes ({reason})", name=name, reason=reason
        ),
        size,
        do=message("models.do.try_224", "try 224"),
    )


def _weights_failure(name: str, error: Exception) -> Exception:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return Failure(
        message(
            "models.refuse.published_weights_could_loaded",
            "the published weights of {name} could not be loaded: {reason}",
            name=name,
            reason=reason,
        )
    )
