"""Name -> network: the table of all networks, and the one function that builds them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from torch import nn

from danlu.config import ModelConfig, from_dict
from danlu.models.alexnet import alexnet, alexnet_2014, alexnet_plain
from danlu.models.backbone import Backbone
from danlu.models.bn_inception import bn_inception
from danlu.models.cspnet import SIZES as CSP_SIZES
from danlu.models.cspnet import cspnet
from danlu.models.detnet import detnet59
from danlu.models.googlenet import GoogLeNet
from danlu.models.inception import InceptionV3, inception_v4
from danlu.models.lenet import lenet, lenet_bn
from danlu.models.lenet5 import lenet5
from danlu.models.library import defining_module, timm_backbone, timm_model, torchvision_model
from danlu.models.linear import Linear
from danlu.models.mlp import MLP
from danlu.models.nin import nin, nin_cifar, nin_plain
from danlu.models.parts import initialise, normalise_weights
from danlu.models.perceptron import Perceptron
from danlu.models.resnet import resnet
from danlu.models.resnet_cifar import resnet_cifar
from danlu.models.small_cnn import small_cnn
from danlu.models.vgg import vgg, vgg_cifar
from danlu.models.vit import SIZES as VIT_SIZES
from danlu.models.vit import ViT
from danlu.refuse import refusal


@dataclass(frozen=True)
class NetworkSpec:
    """One network of the table.

    build: (channels, size, classes, **options), or (inputs, outputs, **options) where tabular.
    tabular: takes rows of numbers (N, inputs), or images as rows of C H W numbers.
    least: the smallest image it can take, in pixels. sizes: the only ones, where not all from `least` on will do.
    multiple: of which the size must be one.
    default_input: (channels, height, width) of the images it was designed for.
    convex: its training loss is convex. residual: a residual network with batch norm. Both decide default settings.
    distance_outputs: its outputs are minus distances to class prototypes, not logits.
    """

    build: Callable[..., nn.Module]
    description: str
    tabular: bool = False
    least: int = 1
    multiple: int = 1
    sizes: tuple[int, ...] = ()
    default_input: tuple[int, int, int] = (3, 224, 224)
    convex: bool = False
    residual: bool = False
    distance_outputs: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Fields of `ModelConfig` that the network heeds: the keyword arguments of its builder, and `init`."""
        parameters = inspect.signature(self.build).parameters.values()
        return (*(p.name for p in parameters if p.kind is p.KEYWORD_ONLY), "init")


VGG_DEPTHS = (11, 13, 16, 19)
CIFAR_INPUT = (3, 32, 32)

MODELS: dict[str, NetworkSpec] = {
    "linear": NetworkSpec(Linear, "linear regression: one affine map", tabular=True, convex=True),
    "softmax": NetworkSpec(
        Linear, "softmax regression: the same map, its outputs read as logits", tabular=True, convex=True
    ),
    "perceptron": NetworkSpec(
        Perceptron, "the same map, to be trained by the perceptron loss", tabular=True, convex=True
    ),
    "mlp": NetworkSpec(MLP, "multilayer perceptron: dense layers (256 hidden units), ReLU", tabular=True),
    "small-cnn": NetworkSpec(
        small_cnn, "four 3x3 convolutions with batch norm, for small images", least=2, default_input=(1, 8, 8)
    ),
    "lenet": NetworkSpec(lenet, "LeNet with ReLU and max pooling", least=4, default_input=(1, 28, 28)),
    "lenet-bn": NetworkSpec(lenet_bn, "LeNet with batch norm, sigmoid and no padding, as textbooks have it", least=16),
    "lenet5": NetworkSpec(
        lenet5,
        "LeNet-5 of 1998, with sparse C3 and RBF output; 28 or 32 pixels",
        sizes=(28, 32),
        default_input=(1, 32, 32),
        distance_outputs=True,
    ),
    "alexnet": NetworkSpec(
        alexnet,
        "AlexNet of 2012: two groups, local response normalisation; 227 pixels",
        least=67,
        default_input=(3, 227, 227),
    ),
    "alexnet-2014": NetworkSpec(alexnet_2014, "AlexNet in one tower, torchvision's form; 224 pixels", least=63),
    "alexnet-plain": NetworkSpec(
        alexnet_plain, "AlexNet without groups and response normalisation; 224 pixels", least=65
    ),
    **{f"vgg{d}": NetworkSpec(partial(vgg, d), f"VGG-{d}; 224 pixels", least=32) for d in VGG_DEPTHS},
    **{
        f"vgg{d}-bn": NetworkSpec(partial(vgg, d, norm="batch"), f"VGG-{d} with batch norm; 224 pixels", least=32)
        for d in VGG_DEPTHS
    },
    **{
        f"vgg{d}-cifar": NetworkSpec(
            partial(vgg_cifar, d), f"VGG-{d} for 32-pixel images, one dense layer", least=32, default_input=CIFAR_INPUT
        )
        for d in VGG_DEPTHS
    },
    "nin": NetworkSpec(nin, "Network in Network; 224 pixels", least=67),
    "nin-plain": NetworkSpec(nin_plain, "Network in Network, the textbooks' narrow last block; 224 pixels", least=67),
    "nin-cifar": NetworkSpec(
        nin_cifar, "Network in Network, the paper's form for 32-pixel images", least=4, default_input=CIFAR_INPUT
    ),
    **{
        f"resnet{depth}": NetworkSpec(
            partial(resnet_cifar, depth),
            f"ResNet-{depth} for small images (CIFAR form)",
            default_input=CIFAR_INPUT,
            residual=True,
        )
        for depth in (20, 32, 44, 56, 110)
    },
    "googlenet": NetworkSpec(GoogLeNet, "GoogLeNet (Inception v1), the paper's form; 224 pixels"),
    "bn-inception": NetworkSpec(bn_inception, "Inception v2: batch norm, pairs of 3x3 convolutions; 224 pixels"),
    "inception-v3": NetworkSpec(
        InceptionV3, "Inception v3, torchvision's; 299 pixels", least=75, default_input=(3, 299, 299)
    ),
    "inception-v4": NetworkSpec(
        inception_v4, "Inception v4, timm's; 299 pixels", least=75, default_input=(3, 299, 299)
    ),
    **{
        f"resnet{d}": NetworkSpec(partial(resnet, d), f"ResNet-{d}; 224 pixels", residual=True)
        for d in (18, 34, 50, 101, 152)
    },
    **{
        f"resnet{d}-cifar": NetworkSpec(
            partial(resnet, d, stem="3x3"),
            f"ResNet-{d} with a 3x3 stem; 32 pixels",
            default_input=CIFAR_INPUT,
            residual=True,
        )
        for d in (18, 34, 50)
    },
    **{
        f"cspnet-{kind}": NetworkSpec(partial(cspnet, kind), f"CSPNet, {kind}: what the yolo detectors stand on")
        for kind in CSP_SIZES
    },
    "detnet59": NetworkSpec(detnet59, "DetNet-59: ResNet-50 whose last stages keep stride 16; 224 pixels"),
    **{
        f"vit-{kind}": NetworkSpec(partial(ViT, kind), f"vision transformer, {kind}; a multiple of 4 pixels", least=4)
        for kind in VIT_SIZES
    },
}

LIBRARIES: dict[str, Callable[..., nn.Module]] = {"timm": timm_model, "torchvision": torchvision_model}
RESIDUAL_MODULES = ("resnet", "resnetv2", "senet", "sknet", "tresnet")  # of timm and torchvision

_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(ModelConfig)}


def build_model(
    name: str,
    *,
    classes: int,
    channels: int | None = None,
    size: int | None = None,
    inputs: int | None = None,
    **options: Any,
) -> nn.Module:
    """A new network with drawn weights: (N, channels, size, size), or rows (N, inputs), -> (N, classes).

    name: an entry of MODELS, or timm/NAME, or torchvision/NAME. classes: the number of outputs. Give channels and size
    for images, inputs for rows of numbers. options: fields of `ModelConfig`; None, or the field's default, means the
    network's own. Refusal for an unknown name, an option that the network does not take, or a size it cannot.
    """
    rows = inputs is not None
    numbers = {"classes": classes} | ({"inputs": inputs} if rows else {"channels": channels, "size": size})
    for what, value in numbers.items():
        if not isinstance(value, int) or value < 1:
            raise refusal(what, "a whole number of at least 1", value)
    entry = find_network(name)
    if entry.tabular:
        inputs = inputs if rows else channels * size * size  # type: ignore[operator]
        return _built(name, entry, (inputs, classes), options)
    if rows:
        tables = ", ".join(n for n, e in MODELS.items() if e.tabular)
        raise refusal("--model", f"one that takes rows of numbers ({tables})", name)
    _check_size(name, entry, size)  # type: ignore[arg-type]
    return _built(name, entry, (channels, size, classes), options)


def build_backbone(name: str, *, channels: int, size: int, **options: Any) -> Backbone:
    """A network for its `features` alone, its head taken off: what a detector stands on.

    name: an entry of MODELS that has stages, or timm/NAME. options: as for `build_model`.
    """
    if options.get("aux"):
        raise refusal("model.aux", "left out for a backbone, which has no classifiers", True)
    library, _, inner = name.partition("/")
    if library == "timm":
        stages = NetworkSpec(partial(timm_backbone, inner), f"the stages of {inner} of timm")
        model = _built(f"the backbone {name}", stages, (channels, size), options)
    else:
        model = build_model(name, classes=1, channels=channels, size=size, **options)
    if not isinstance(model, Backbone):
        raise refusal("--model", "a network with stages, or timm/NAME, to be a backbone", name)
    model.head = nn.Identity()
    return model


def _built(name: str, entry: NetworkSpec, shape: tuple[Any, ...], options: Mapping[str, Any]) -> nn.Module:
    """The entry's network with its options, all of which it must heed, and its weights as `init` and `norm` say."""
    options = _given(options)
    for option, value in options.items():
        if option not in entry.options:
            raise refusal(f"model.{option}", f"left out for {name}, which takes {', '.join(entry.options)}", value)
    init, norm = options.pop("init", "default"), options.get("norm")
    if init != "default" and options.get("pretrained"):
        raise refusal("model.init", "left out with published weights", init)
    model = entry.build(*shape, **options)
    initialise(model, init)
    if norm in ("weight", "spectral"):
        normalise_weights(model, norm)
    return model


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were set, checked as the config checks them."""
    options = {k: v for k, v in options.items() if v is not None and v != _DEFAULTS.get(k)}
    checked = from_dict({"model": {k: v for k, v in options.items() if k in _DEFAULTS}}).model
    return {k: getattr(checked, k, v) for k, v in options.items()}


def find_network(name: str) -> NetworkSpec:
    """Spec of a network of the table or of a library. Raises Refusal, with the nearest name, for an unknown one."""
    library, slash, inner = name.partition("/")
    if slash and library in LIBRARIES:
        residual = defining_module(library, inner) in RESIDUAL_MODULES
        return NetworkSpec(partial(LIBRARIES[library], inner), f"{inner} of {library}", residual=residual)
    if name not in MODELS:
        raise refusal("--model", "a known network, timm/NAME or torchvision/NAME", name, near=MODELS)
    return MODELS[name]


def _check_size(name: str, entry: NetworkSpec, size: int) -> None:
    if entry.sizes and size not in entry.sizes:
        raise refusal("data.size", f"{' or '.join(map(str, entry.sizes))} for {name}", size)
    if size < entry.least:
        raise refusal("data.size", f"at least {entry.least} for {name}", size)
    if size % entry.multiple:
        raise refusal("data.size", f"a multiple of {entry.multiple} for {name}", size)
