"""The table of all networks, and the functions that build a network or a backbone by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from torch import nn

from danlu.config import ModelConfig, from_dict
from danlu.message import message
from danlu.models import networks
from danlu.models.backbone import Backbone
from danlu.models.frame_mean import FrameMean
from danlu.models.library import defining_module, timm_backbone, timm_model, torchvision_model
from danlu.models.parts import initialise, normalise_weights
from danlu.models.spec import NetworkSpec
from danlu.python_calls import python_names
from danlu.refuse import either, refusal
from danlu.user_objects import find, is_own

# Name -> its spec, from the files in networks/. Adding a file adds its networks.
MODELS: dict[str, NetworkSpec] = {}
for _file in iter_modules(networks.__path__):
    MODELS |= import_module(f"{networks.__name__}.{_file.name}").NETWORKS

LIBRARIES: dict[str, Callable[..., nn.Module]] = {"timm": timm_model, "torchvision": torchvision_model}
RESIDUAL_MODULES = ("resnet", "resnetv2", "senet", "sknet", "tresnet")  # Python modules of timm and torchvision

_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(ModelConfig)}


@python_names()
def build_model(
    name: str,
    *,
    classes: int,
    channels: int | None = None,
    size: int | None = None,
    inputs: int | None = None,
    frames: int | None = None,
    mixed: bool = False,
    **options: Any,
) -> nn.Module:
    """Build a randomly initialised network of images, rows or clips.

    It takes (N, channels, size, size), rows (N, inputs), or clips (N, frames, channels, size, size), and returns
    (N, classes). A network of images gets each frame of a clip; its outputs are averaged.

    Args:
        name: An entry of MODELS, or timm/NAME, or torchvision/NAME.
        classes: Number of outputs.
        channels: Channels of the images; with `size`, for images.
        size: Side of the images in pixels.
        inputs: Numbers per row, for rows of numbers.
        frames: Frames per clip, for clips.
        mixed: For images of different sizes on canvases of one size; `size` is then the side of a typical image.
        options: Fields of `ModelConfig`; None, or the field's default, means the network's own default.

    Raises:
        Refusal: Unknown name, an option that the network does not take, or a size that it does not accept.
    """
    classes = _positive("classes", classes)
    if inputs is not None:
        inputs, spec = _positive("inputs", inputs), find_network(name)
        if not spec.tabular:
            tables = [n for n, e in MODELS.items() if e.tabular]
            raise refusal(
                "--model",
                message("models.wanted.network_table_rows", "a network for table rows ({tables})", tables=tables),
                name,
            )
        return _build(name, spec, (inputs, classes), options)
    channels, size = _positive("channels", channels), _positive("size", size)
    spec = find_network(name)
    if frames is not None:
        frames = _positive("frames", frames)
    if spec.clips and frames is None:
        raise refusal(
            "--model", message("models.wanted.network_images", "a network of images, as these are no clips"), name
        )
    shape = (channels * size * size, classes) if spec.tabular else (channels, size, classes)
    if not spec.tabular:
        _check_size(name, spec, size)
    if mixed:
        spec = _for_mixed_sizes(name, spec)
    model = _build(name, spec, shape, options)
    return model if frames is None or spec.clips else FrameMean(model)


def _for_mixed_sizes(name: str, spec: NetworkSpec) -> NetworkSpec:
    """The spec of the same network for images of different sizes. Raises Refusal if it needs one size."""
    if spec.mixed is None:
        suited = [other for other, one in MODELS.items() if one.mixed is not None]
        wanted = message(
            "models.wanted.mixed_sizes", "a network for images of different sizes ({suited})", suited=suited
        )
        raise refusal("--model", wanted, name)
    return replace(spec, build=spec.mixed)


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
        raise refusal(
            "model.aux",
            message("models.wanted.omitted_backbone_classifiers", "omitted for a backbone, which has no classifiers"),
            True,
        )
    library, _, inner = name.partition("/")
    if library == "timm":
        stages = NetworkSpec(partial(timm_backbone, inner), f"the stages of {inner} of timm")
        model = _build(f"the backbone {name}", stages, (channels, size), options)
    else:
        model = build_model(name, classes=1, channels=channels, size=size, **options)
    if not isinstance(model, Backbone):
        raise refusal(
            "--model",
            message("models.wanted.network_stages_timm_name", "a network with stages, or timm/NAME, for a backbone"),
            name,
        )
    model.head = nn.Identity()
    return model


def find_network(name: str) -> NetworkSpec:
    """Return the spec of a network of MODELS, timm/NAME or torchvision/NAME. Raises Refusal for any other name."""
    if is_own(name):
        return find("model", name)
    library, slash, inner = name.partition("/")
    if slash and library in LIBRARIES:
        residual = defining_module(library, inner) in RESIDUAL_MODULES
        return NetworkSpec(partial(LIBRARIES[library], inner), f"{inner} of {library}", residual=residual)
    if name not in MODELS:
        raise refusal(
            "--model",
            message("models.wanted.known_network_timm_name", "a known network, timm/NAME or torchvision/NAME"),
            name,
            near=MODELS,
        )
    return MODELS[name]


def _positive(argument: str, value: object) -> int:
    if not isinstance(value, int) or value < 1:
        raise refusal(argument, message("models.wanted.integer_least", "an integer of at least 1"), value)
    return value


def _published(name: str) -> str:
    """Sentence on the network of timm with this name, which has published weights; "" where timm has none."""
    if "/" in name or not defining_module("timm", name):
        return ""
    return message("models.do.published", "for published weights use --model timm/{name}", name=name)


def _build(name: str, spec: NetworkSpec, shape: tuple[int, ...], options: Mapping[str, Any]) -> nn.Module:
    """Build the network of `spec`, then apply `init` and weight normalisation. Raises Refusal for options it lacks."""
    options = _set_options(options)
    for option, value in options.items():
        if option not in spec.options:
            raise refusal(
                f"model.{option}",
                message(
                    "models.wanted.omitted_takes",
                    "omitted for {name}, which takes {listed}",
                    name=name,
                    listed=[*spec.options],
                ),
                value,
                do=_published(name) if option == "pretrained" else "",
            )
    init, norm = options.pop("init", "default"), options.get("norm")
    if init != "default" and options.get("pretrained"):
        raise refusal(
            "model.init", message("models.wanted.omitted_published_weights", "omitted with published weights"), init
        )
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
        raise refusal(
            "data.size",
            message("models.wanted.build", "{listed} for {name}", listed=either([*map(str, spec.sizes)]), name=name),
            size,
        )
    if size < spec.min_size:
        raise refusal(
            "data.size",
            message("models.wanted.least", "at least {min_size} for {name}", min_size=spec.min_size, name=name),
            size,
        )
    if size % spec.multiple:
        raise refusal(
            "data.size",
            message("models.wanted.multiple", "a multiple of {multiple} for {name}", multiple=spec.multiple, name=name),
            size,
        )
