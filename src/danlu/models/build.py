"""The table of all networks, and the functions that build a network or a backbone by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
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
from danlu.models.spec import NetworkSpec
from danlu.models.vgg import vgg, vgg_cifar
from danlu.models.vit import SIZES as VIT_SIZES
from danlu.models.vit import ViT
from danlu.refuse import refusal

ROW, GREY_28, RGB_32, RGB_299 = (784,), (1, 28, 28), (3, 32, 32), (3, 299, 299)  # input shapes

# Families: the facts that several entries share.
dense = partial(NetworkSpec, tabular=True, default_input=ROW)
linear = partial(dense, family="linear", convex=True)
lenets = partial(NetworkSpec, family="lenet")
alexnets = partial(NetworkSpec, family="alexnet", paper="Krizhevsky, Sutskever & Hinton 2012")
vggs = partial(NetworkSpec, family="vgg", paper="Simonyan & Zisserman 2014", min_size=32)
nins = partial(NetworkSpec, family="nin", paper="Lin, Chen & Yan 2013")
inceptions = partial(NetworkSpec, family="inception")
resnets = partial(NetworkSpec, family="resnet", paper="He et al. 2015", residual=True)
csps = partial(NetworkSpec, family="cspnet", paper="Wang et al. 2020")
vits = partial(NetworkSpec, family="vit", paper="Dosovitskiy et al. 2021", min_size=4)

VGG_DEPTHS = (11, 13, 16, 19)

MODELS: dict[str, NetworkSpec] = {
    "linear": linear(Linear, "linear regression: one affine map"),
    "softmax": linear(Linear, "softmax regression: one affine map to logits"),
    "perceptron": linear(Perceptron, "one affine map, for the perceptron loss", paper="Rosenblatt 1958"),
    "mlp": dense(
        MLP, "multilayer perceptron: dense layers (256 hidden units)", paper="Rumelhart et al. 1986", family="mlp",
    ),
    "small-cnn": NetworkSpec(
        small_cnn, "four 3x3 convolutions with batch norm, for small images",
        family="small-cnn", min_size=2, default_input=(1, 8, 8),
    ),
    "lenet": lenets(
        lenet, "LeNet with ReLU and max pooling", paper="LeCun et al. 1998", min_size=4, default_input=GREY_28,
    ),
    "lenet-bn": lenets(
        lenet_bn, "LeNet with batch norm, sigmoid and no padding, as in textbooks",
        paper="LeCun et al. 1998; Ioffe & Szegedy 2015", min_size=16, default_input=GREY_28,
    ),
    "lenet5": lenets(
        lenet5, "LeNet-5 of 1998, with sparse C3 and RBF output; 28 or 32 pixels", paper="LeCun et al. 1998",
        sizes=(28, 32), default_input=(1, 32, 32), distance_outputs=True,
    ),
    "alexnet": alexnets(
        alexnet, "AlexNet of 2012: two groups, local response normalisation; 227 pixels",
        min_size=67, default_input=(3, 227, 227),
    ),
    "alexnet-2014": alexnets(
        alexnet_2014, "AlexNet in one tower, as in torchvision; 224 pixels", paper="Krizhevsky 2014", min_size=63,
    ),
    "alexnet-plain": alexnets(
        alexnet_plain, "AlexNet without groups and response normalisation; 224 pixels", min_size=65,
    ),
    **{f"vgg{d}": vggs(partial(vgg, d), f"VGG-{d}; 224 pixels") for d in VGG_DEPTHS},
    **{f"vgg{d}-bn": vggs(partial(vgg, d, norm="batch"), f"VGG-{d} with batch norm; 224 pixels") for d in VGG_DEPTHS},
    **{
        f"vgg{d}-cifar": vggs(
            partial(vgg_cifar, d), f"VGG-{d} for 32-pixel images, one dense layer", default_input=RGB_32
        )
        for d in VGG_DEPTHS
    },
    "nin": nins(nin, "Network in Network; 224 pixels", min_size=67),
    "nin-plain": nins(nin_plain, "Network in Network with the narrow last block of textbooks; 224 pixels", min_size=67),
    "nin-cifar": nins(
        nin_cifar, "Network in Network as in the paper, for 32-pixel images", min_size=4, default_input=RGB_32,
    ),
    **{
        f"resnet{depth}": resnets(
            partial(resnet_cifar, depth), f"ResNet-{depth} for small images (CIFAR form)", default_input=RGB_32
        )
        for depth in (20, 32, 44, 56, 110)
    },
    "googlenet": inceptions(
        GoogLeNet, "GoogLeNet (Inception v1) as in the paper; 224 pixels", paper="Szegedy et al. 2014",
    ),
    "bn-inception": inceptions(
        bn_inception, "Inception v2: batch norm, pairs of 3x3 convolutions; 224 pixels", paper="Ioffe & Szegedy 2015",
    ),
    "inception-v3": inceptions(
        InceptionV3, "Inception v3 of torchvision; 299 pixels", paper="Szegedy et al. 2015",
        min_size=75, default_input=RGB_299,
    ),
    "inception-v4": inceptions(
        inception_v4, "Inception v4 of timm; 299 pixels", paper="Szegedy et al. 2016",
        min_size=75, default_input=RGB_299,
    ),
    **{f"resnet{d}": resnets(partial(resnet, d), f"ResNet-{d}; 224 pixels") for d in (18, 34, 50, 101, 152)},
    **{
        f"resnet{d}-cifar": resnets(
            partial(resnet, d, stem="3x3"), f"ResNet-{d} with a 3x3 stem; 32 pixels", default_input=RGB_32
        )
        for d in (18, 34, 50)
    },
    **{
        f"cspnet-{kind}": csps(partial(cspnet, kind), f"CSPNet, {kind}: backbone of the yolo detectors")
        for kind in CSP_SIZES
    },
    "detnet59": NetworkSpec(
        detnet59, "DetNet-59: ResNet-50 whose last stages keep stride 16; 224 pixels",
        paper="Li et al. 2018", family="detnet",
    ),
    **{
        f"vit-{kind}": vits(partial(ViT, kind), f"vision transformer, {kind}; a multiple of 4 pixels")
        for kind in VIT_SIZES
    },
}  # fmt: skip

LIBRARIES: dict[str, Callable[..., nn.Module]] = {"timm": timm_model, "torchvision": torchvision_model}
RESIDUAL_MODULES = ("resnet", "resnetv2", "senet", "sknet", "tresnet")  # Python modules of timm and torchvision

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
    """Build a randomly initialised network: (N, channels, size, size), or rows (N, inputs), -> (N, classes).

    Args:
        name: An entry of MODELS, or timm/NAME, or torchvision/NAME.
        classes: Number of outputs.
        channels: Channels of the images; with `size`, for images.
        size: Side of the images in pixels.
        inputs: Numbers per row, for rows of numbers.
        options: Fields of `ModelConfig`; None, or the field's default, means the network's own default.

    Raises:
        Refusal: Unknown name, an option that the network does not take, or a size that it does not accept.
    """
    classes = _positive("classes", classes)
    if inputs is not None:
        inputs, spec = _positive("inputs", inputs), find_network(name)
        if not spec.tabular:
            tables = ", ".join(n for n, e in MODELS.items() if e.tabular)
            raise refusal("--model", f"one that takes rows of numbers ({tables})", name)
        return _build(name, spec, (inputs, classes), options)
    channels, size = _positive("channels", channels), _positive("size", size)
    spec = find_network(name)
    if spec.tabular:
        return _build(name, spec, (channels * size * size, classes), options)
    _check_size(name, spec, size)
    return _build(name, spec, (channels, size, classes), options)


def build_backbone(name: str, *, channels: int, size: int, **options: Any) -> Backbone:
    """Build a network without its head, for the `features` of its stages, as detectors need it.

    Args:
        name: An entry of MODELS that has stages, or timm/NAME.
        channels: Channels of the images.
        size: Side of the images in pixels.
        options: As for `build_model`.

    Raises:
        Refusal: A network without stages, or as `build_model`.
    """
    if options.get("aux"):
        raise refusal("model.aux", "left out for a backbone, which has no classifiers", True)
    library, _, inner = name.partition("/")
    if library == "timm":
        stages = NetworkSpec(partial(timm_backbone, inner), f"the stages of {inner} of timm")
        model = _build(f"the backbone {name}", stages, (channels, size), options)
    else:
        model = build_model(name, classes=1, channels=channels, size=size, **options)
    if not isinstance(model, Backbone):
        raise refusal("--model", "a network with stages, or timm/NAME, to be a backbone", name)
    model.head = nn.Identity()
    return model


def find_network(name: str) -> NetworkSpec:
    """Return the spec of a network of MODELS, timm/NAME or torchvision/NAME. Refusal for any other name."""
    library, slash, inner = name.partition("/")
    if slash and library in LIBRARIES:
        residual = defining_module(library, inner) in RESIDUAL_MODULES
        return NetworkSpec(partial(LIBRARIES[library], inner), f"{inner} of {library}", residual=residual)
    if name not in MODELS:
        raise refusal("--model", "a known network, timm/NAME or torchvision/NAME", name, near=MODELS)
    return MODELS[name]


def _positive(argument: str, value: object) -> int:
    if not isinstance(value, int) or value < 1:
        raise refusal(argument, "an integer of at least 1", value)
    return value


def _build(name: str, spec: NetworkSpec, shape: tuple[int, ...], options: Mapping[str, Any]) -> nn.Module:
    """Build the network of `spec`, then apply `init` and weight normalisation. Refusal for options it lacks."""
    options = _set_options(options)
    for option, value in options.items():
        if option not in spec.options:
            raise refusal(f"model.{option}", f"left out for {name}, which takes {', '.join(spec.options)}", value)
    init, norm = options.pop("init", "default"), options.get("norm")
    if init != "default" and options.get("pretrained"):
        raise refusal("model.init", "left out with published weights", init)
    model = spec.build(*shape, **options)
    initialise(model, init)
    if norm in ("weight", "spectral"):
        normalise_weights(model, norm)
    return model


def _set_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that differ from their defaults, validated as the config validates them."""
    options = {k: v for k, v in options.items() if v is not None and v != _DEFAULTS.get(k)}
    checked = from_dict({"model": {k: v for k, v in options.items() if k in _DEFAULTS}}).model
    return {k: getattr(checked, k, v) for k, v in options.items()}


def _check_size(name: str, spec: NetworkSpec, size: int) -> None:
    if spec.sizes and size not in spec.sizes:
        raise refusal("data.size", f"{' or '.join(map(str, spec.sizes))} for {name}", size)
    if size < spec.min_size:
        raise refusal("data.size", f"at least {spec.min_size} for {name}", size)
    if size % spec.multiple:
        raise refusal("data.size", f"a multiple of {spec.multiple} for {name}", size)
