"""Everything a run can be told, in one tree; every default stands here, once.

`None` means "chosen from the data": `preparation/defaults.py` fills it in before training and says why. The same
tree is reached three ways with the same names: flags (`--optim.momentum 0.8`), YAML (`optim: {momentum: 0.8}`) and
Python (`danlu.train(path, optim={"momentum": 0.8})`). A section given one plain value takes it as its first field,
so `--model lenet` is `--model.name lenet`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from danlu.refuse import Refusal, refusal

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _part(value: Any) -> Any:
    """A share in (0, 1), a count (0: none), or a path; text that is a number is a number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    if 0 < number < 1:
        return number
    if number >= 0 and number.is_integer():
        return int(number)
    raise ValueError("a share between 0 and 1, a count of samples, 0 for none, or a path")


def _split_commas(value: Any) -> Any:
    """Lists are written "256,128" on the command line; one plain number is a list of one."""
    if isinstance(value, str):
        return value.split(",")
    return [value] if isinstance(value, int | float) else value


def _cuts(value: Any) -> Any:
    """A list that may be empty, "none"."""
    return () if value == "none" else _split_commas(value)


def _layers(value: Any) -> Any:
    """Names of layers; "none" takes back what a config file says."""
    return None if value == "none" else _split_commas(value)


Part = Annotated[float | int | str, BeforeValidator(_part)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_split_commas)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(_split_commas)]


def option(default: Any, text: str) -> Any:
    """A field with its default and its one-line description (shown by --help and in the report)."""
    return field(default=default, metadata={"text": text})


def section(kind: type) -> Any:
    return field(default_factory=kind, metadata={"text": (kind.__doc__ or "").strip()})


class Strict:
    """Unknown keys, and numbers that are not finite, are refused."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class DataConfig(Strict):
    """What is read, how it is split and how it is fed."""

    path: str = option("", "a file, a folder, or the name of a known set")
    target: str | None = option(None, "column to predict (csv)")
    val: Part | None = option(
        None, "validation part: a share, a count or a path; given splits are respected by default"
    )
    test: Part | None = option(None, "test part: a share, a count or a path")
    split: str = option(
        "stratified", "stratified | random | time:COLUMN | group:COLUMN; such a column is then no input"
    )
    folds: Annotated[int, Field(ge=2)] | None = option(None, "k-fold cross validation with this many folds")
    fold: Annotated[int, Field(ge=0)] | None = option(None, "train on this one fold only (set by --folds)")
    refit: Literal["all", "best", "ensemble"] | None = option(
        None, "what to keep after the folds: all | best | ensemble"
    )
    limit: Count | None = option(None, "use only this many training samples, drawn by the seed")
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = option(
        None, "of the split and of --data.limit; the run's own --seed by default"
    )
    on_bad: Literal["stop", "skip"] = option("stop", "more than 5 % bad files, or an empty class: stop | skip")
    size: Count | None = option(None, "side of the images the network sees, in pixels")
    colour: Literal["grey", "rgb"] | None = option(None, "channels of the images")
    standardise: bool = option(True, "images: (x - mean) / std of the training set; false leaves them in [0, 1]")
    standardise_target: bool | None = option(None, "regression: train on (y - mean) / std of the training targets")
    memory: bool | None = option(None, "keep the whole set as one uint8 tensor on the device")
    cache: str | None = option(None, "folder for resized images, read back by later runs")
    workers: Annotated[int, Field(ge=0)] | None = option(None, "processes that decode images")
    last: Literal["keep", "drop", "carry"] = option(
        "keep", "incomplete last batch: keep | drop | carry into the next epoch"
    )
    balance: bool = option(False, "draw every class equally often")


@dataclass(frozen=True)
class ModelConfig(Strict):
    """Which network, and its shape."""

    name: str | None = option(None, "a danlu network, timm/NAME or torchvision/NAME")
    width: Counts | None = option(None, "hidden units per layer (mlp), as 256,128")
    activation: (
        Literal["relu", "tanh", "sigmoid", "leaky", "gelu", "silu", "scaled-sigmoid", "scaled-tanh", "none"] | None
    ) = option(None, "non-linearity")
    norm: str | None = option(None, "normalisation")
    init: str | None = option(None, "initialisation of the weights")
    dropout: Share | None = option(None, "share of hidden units dropped while training")
    pool: Literal["max", "average"] | None = option(None, "pooling (lenet)")
    aux: bool = option(False, "auxiliary heads (googlenet, inception-v3)")
    final_relu: bool = option(False, "ReLU on the logits, as first published (nin)")
    stem: Literal["imagenet", "3x3"] | None = option(None, "first layers (resnet18 ... resnet152)")
    stride_in: Literal["3x3", "1x1"] | None = option(None, "which convolution of a bottleneck strides (resnet50 ...)")
    drop_path: Share | None = option(None, "stochastic depth: share of the last block's passes left out (resnet, vit)")
    patch: Count | None = option(None, "side of a patch in pixels (vit)")
    pretrained: bool = option(False, "start timm/ and torchvision/ networks from their published weights")
    sparse: Literal["2:4"] | None = option(None, "keep the two largest of every four weights along the input channels")
    sparse_refine: NotNegative = option(0.0, "sparse: decay of the pruned weights, SR-STE; 2e-4 in its paper")


@dataclass(frozen=True)
class TransferConfig(Strict):
    """Which trained weights to start from, and what of them may change."""

    init: str | None = option(None, "weights to start from: a run, a .safetensors file or timm:pretrained")
    freeze: Annotated[tuple[str, ...] | None, BeforeValidator(_layers)] = option(
        None, "layers to keep as they are, as stem,stage1; or all-but-head; or none"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = option(1.0, "rate of each stage as a share of the next one's")


@dataclass(frozen=True)
class DetectConfig(Strict):
    """How objects are found: what the detector stands on, and which of its findings are kept."""

    backbone: str | None = option(None, "network whose features the detector reads: a danlu network or timm/NAME")
    neck: Literal["fpn", "none"] | None = option(None, "feature pyramid (faster-rcnn, mask-rcnn)")
    width: Count | None = option(
        None, "channels of the layers between backbone and answers (yolo, ssd, retinanet, fpn)"
    )
    hidden: Count | None = option(None, "units of the dense layers that judge a region (rcnn and its kin)")
    depth: Count | None = option(None, "convolutions of each branch of the head (retinanet)")
    levels: Count | None = option(None, "levels of the feature pyramid (retinanet)")
    anchor: Positive | None = option(None, "side of the smallest anchors in pixels (faster-rcnn, mask-rcnn, retinanet)")
    search: Literal["auto", "selective", "colours"] | None = option(
        None, "how regions are found in the pixels (rcnn, fast-rcnn): selective search, areas of a colour, or auto"
    )
    proposals: Count | None = option(None, "regions looked at in an image (rcnn and its kin)")
    candidates: Count | None = option(None, "anchors of each level that may become proposals (faster-rcnn, mask-rcnn)")
    sampled: Count | None = option(None, "anchors of an image drawn for the losses (faster-rcnn, mask-rcnn)")
    regions: Count | None = option(None, "proposals of an image drawn for the losses (rcnn and its kin)")
    positive_share: Annotated[float, Field(gt=0, lt=1)] | None = option(
        None, "of these at most so many on objects (rcnn and its kin)"
    )
    crop: Annotated[int, Field(ge=16)] | None = option(None, "side to which a region is warped, in pixels (rcnn)")
    context: Annotated[float, Field(ge=0, lt=0.5)] | None = option(
        None, "share of a warped region, on each side, that shows what is around (rcnn)"
    )
    mask_width: Count | None = option(None, "channels of the convolutions that see the mask (mask-rcnn)")
    mask_layers: Annotated[int, Field(ge=0)] | None = option(None, "how many of them there are (mask-rcnn)")
    fit: Literal["letterbox", "stretch"] = option("letterbox", "images that are no squares: letterbox | stretch")
    score: Share = option(0.3, "predict: least score of a detection that is kept")
    overlap: Annotated[float, Field(gt=0, le=1)] | None = option(
        None, "of two detections of a class that overlap more (IoU), keep one"
    )
    most: Count = option(100, "detections kept in an image")


@dataclass(frozen=True)
class OptimConfig(Strict):
    """How the weights are updated."""

    name: Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "muon"] | None = option(
        None, "update rule"
    )
    lr: Positive | None = option(None, "learning rate")
    momentum: Share = option(0.9, "momentum, nesterov, muon: share of the last step kept")
    alpha: Share = option(0.99, "rmsprop: decay of the averaged squared gradient")
    beta1: Share = option(0.9, "adam, adamw: decay of the averaged gradient")
    beta2: Share = option(0.999, "adam, adamw: decay of the averaged squared gradient")
    eps: Positive = option(1e-8, "added to the root of the averaged squared gradient")
    weight_decay: NotNegative | None = option(None, "lambda of lambda/2 |w|^2")
    decay_all: bool = option(False, "decay biases and norms as well")
    clip_norm: Positive | None = option(None, "scale the gradient down to this global norm")
    clip_value: Positive | None = option(None, "clamp each entry of the gradient to this size")
    accumulate: Count = option(1, "batches whose gradients are added up before a step")
    ema: Share = option(0.0, "decay of an average of the weights and buffers, used for evaluation; 0 is off")


@dataclass(frozen=True)
class ScheduleConfig(Strict):
    """How the learning rate changes."""

    name: Literal["constant", "step", "exponential", "cosine", "one-cycle", "plateau"] | None = option(
        None, "its course"
    )
    warmup: NotNegative = option(0.0, "epochs of linear rise before it")
    every: Positive = option(30.0, "step: epochs between cuts")
    milestones: Annotated[tuple[Positive, ...], BeforeValidator(_cuts)] = option(
        (), "step: the epochs of the cuts themselves, instead"
    )
    factor: Annotated[float, Field(gt=0, lt=1)] | None = option(
        None, "step and plateau: multiply by this at a cut; exponential: per epoch"
    )
    patience: Count = option(10, "plateau: epochs without improvement before a cut")
    floor: Share = option(0.0, "cosine and one-cycle: last rate as a share of the peak")
    rise: Annotated[float, Field(gt=0, lt=1)] = option(0.3, "one-cycle: share of the training that the rise takes")


@dataclass(frozen=True)
class LossConfig(Strict):
    """What is minimised."""

    name: (
        Literal["cross-entropy", "binary-cross-entropy", "focal", "perceptron", "squared", "absolute", "huber"] | None
    ) = option(None, "per-sample loss")
    smoothing: Share = option(0.0, "label smoothing (cross-entropy)")
    rubbish: Positive | None = option(None, "cross-entropy: one more class, never right, whose output is minus this")
    class_weights: Literal["balanced"] | Numbers | None = option(None, "balanced, or one weight per class")
    gamma: NotNegative = option(2.0, "focal: how strongly easy samples are discounted")
    delta: Positive = option(1.0, "huber: |error| at which the square turns into a line")


@dataclass(frozen=True)
class AugmentConfig(Strict):
    """How training images are varied; never applied to validation. A preset fills what is left None."""

    preset: Literal["none", "light", "strong"] | None = option(None, "none | light | strong")
    flip: Literal["none", "lr", "ud", "both"] | None = option(None, "mirror: none | lr | ud | both")
    pad: Annotated[int, Field(ge=0)] | None = option(None, "pad by this many pixels, then crop back at random")
    area: Annotated[Numbers, Field(min_length=2, max_length=2)] | None = option(
        None, "random resized crop: range of the area kept, as 0.08,1"
    )
    ratio: Annotated[Numbers, Field(min_length=2, max_length=2)] | None = option(
        None, "random resized crop: range of width/height"
    )
    brightness: Share | None = option(None, "factor drawn from [1-b, 1+b]")
    contrast: Share | None = option(None, "factor drawn from [1-c, 1+c]")
    saturation: Share | None = option(None, "factor drawn from [1-s, 1+s]")
    hue: Annotated[float, Field(ge=0, le=0.5)] | None = option(None, "turn of the colour circle, at most this share")
    rotate: Annotated[float, Field(ge=0, le=180)] | None = option(None, "rotation of at most this many degrees")
    scale: Share | None = option(None, "zoom factor drawn from [1-s, 1+s]")
    shear: Annotated[float, Field(ge=0, le=60)] | None = option(None, "shear of at most this many degrees")
    translate: Share | None = option(None, "shift of at most this share of the side")
    erase: Annotated[float, Field(ge=0, le=1)] | None = option(None, "chance that a random rectangle is erased")
    mixup: NotNegative | None = option(None, "alpha of mixup's Beta(alpha, alpha); 0 is off")
    cutmix: NotNegative | None = option(None, "alpha of cutmix's Beta(alpha, alpha); 0 is off")
    zoom_out: Annotated[float, Field(ge=1)] | None = option(
        None, "detection: half of the images lie on grey, up to this many times smaller; 1 is off"
    )
    iou_crop: Annotated[float, Field(ge=0, le=1)] | None = option(
        None, "detection: chance of a crop (of area and ratio) that overlaps some object enough"
    )
    mosaic: Annotated[float, Field(ge=0, le=1)] | None = option(
        None, "detection: chance that four images are put together"
    )
    multi_scale: Share | None = option(
        None, "detection: each batch's side drawn from [1-m, 1+m] of the size, a multiple of 32"
    )


@dataclass(frozen=True)
class RegulariseConfig(Strict):
    """When dropout acts and when training stops."""

    dropout_when: Literal["always", "early", "late"] = option(
        "always", "always | early (underfitting) | late (overfitting)"
    )
    dropout_until: Annotated[float, Field(gt=0, lt=1)] = option(
        0.3, "share of the training at which early ends or late begins"
    )
    patience: Count | None = option(None, "stop after this many epochs without improvement")


@dataclass(frozen=True)
class DoctorConfig(Strict):
    """The doctor that watches the training and says what is wrong."""

    budget: Share = option(0.03, "share of the time that it may use; 0 sends it away")
    language: Literal["en", "zh"] = option("en", "of the doctor, the report and the terminal: en | zh")


@dataclass(frozen=True)
class Config(Strict):
    """One training run."""

    data: DataConfig = section(DataConfig)
    task: Literal["classify", "regress", "detect", "segment"] | None = option(
        None, "classify | regress | detect | segment"
    )
    model: ModelConfig = section(ModelConfig)
    detect: DetectConfig = section(DetectConfig)
    transfer: TransferConfig = section(TransferConfig)
    epochs: Count | None = option(None, "passes over the training set")
    batch_size: Count | None = option(None, "samples per step, over all devices")
    optim: OptimConfig = section(OptimConfig)
    schedule: ScheduleConfig = section(ScheduleConfig)
    loss: LossConfig = section(LossConfig)
    augment: AugmentConfig = section(AugmentConfig)
    regularise: RegulariseConfig = section(RegulariseConfig)
    doctor: DoctorConfig = section(DoctorConfig)
    tta: bool = option(False, "average probabilities over the mirrored image when evaluating and predicting")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = option(0, "of shuffling, augmentation, initialisation and dropout")
    device: str = option("auto", "auto | cpu | cuda | cuda:0 | mps")
    devices: Count = option(1, "processes (cpu) or cards that share each batch")
    precision: Literal["fp32", "bf16", "fp16"] | None = option(None, "arithmetic of the forward and backward pass")
    channels_last: bool | None = option(None, "memory format of images")
    compile: bool = option(False, "torch.compile the network")
    deterministic: bool = option(False, "refuse operations whose result varies from run to run (CUDA)")
    out: str | None = option(None, "run folder; the next free runs/N by default")
    save_every: Annotated[float, Field(gt=0)] = option(5.0, "minutes between checkpoints inside a long epoch")
    log_every: Count = option(50, "steps between lines of metrics.jsonl")


# Short names of the settings used most: `--lr 0.1`, `danlu.train(path, lr=0.1)`. A section's own name stands for its
# first field (`model`, `schedule`, `loss`, `augment`).
SHORT = {
    "optimizer": "optim.name",
    "lr": "optim.lr",
    "target": "data.target",
    "val": "data.val",
    "test": "data.test",
    "split": "data.split",
    "folds": "data.folds",
    "refit": "data.refit",
    "on_bad": "data.on_bad",
    "size": "data.size",
    "workers": "data.workers",
    "init": "transfer.init",
    "freeze": "transfer.freeze",
    "sparse": "model.sparse",
    "backbone": "detect.backbone",
    "lang": "doctor.language",
}
# On the command line these sections' names are short for their first fields, as a plain value for a section is.
SHORT_FLAGS = SHORT | {
    "model": "model.name",
    "schedule": "schedule.name",
    "loss": "loss.name",
    "augment": "augment.preset",
}


def _sections(kind: type) -> dict[str, type]:
    """Fields of a config class that are sections themselves: name -> class."""
    return {f.name: f.default_factory for f in fields(kind) if is_dataclass(f.default_factory)}  # type: ignore[misc]


@lru_cache
def keys(kind: type = Config) -> dict[str, dataclasses.Field]:
    """Every setting by its dotted place: {"optim.lr": field, ...}.

    >>> keys()["optim.momentum"].default
    0.9
    """
    inner = _sections(kind)
    found: dict[str, dataclasses.Field] = {}
    for f in fields(kind):
        if f.name in inner:
            found |= {f"{f.name}.{key}": leaf for key, leaf in keys(inner[f.name]).items()}
        else:
            found[f.name] = f
    return found


def get(config: Config, key: str) -> Any:
    """The value at a dotted place."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy with the given settings, by dotted or nested names; every value is checked.

    Raises Refusal naming the key, the value and the nearest valid choice.
    """
    return from_dict(_merge(to_dict(config), _nested(values, "")), where="")


def from_dict(values: Mapping[str, Any], where: str = "") -> Config:
    """A config from a nested dictionary. where: the file it came from, for messages."""
    tree = _nested(values, where)
    try:
        return _adapter().validate_python(tree)
    except ValidationError as error:
        raise _sentence(error, where) from None


def to_dict(config: Config) -> dict[str, Any]:
    """The tree as plain dictionaries, lists and numbers."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return plain(dataclasses.asdict(config))


def changed(config: Config) -> dict[str, Any]:
    """The settings that differ from their default, by dotted place."""
    return {key: get(config, key) for key, f in keys().items() if get(config, key) != f.default}


def load_yaml(path: str | Path) -> Config:
    """Read a config file; Refusal when it is missing, no YAML, or holds an unknown key or a wrong value."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise refusal("--config", "a readable file", str(path), do=f"{error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: bytes that are no text, a 13th month
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be read as text and plain values"
        raise Refusal(f"{path}{line} must be YAML: {problem}") from None
    if values is not None and not isinstance(values, Mapping):
        raise refusal(str(path), "a YAML mapping of settings", type(values).__name__)
    return from_dict(values or {}, where=str(path))


def dump_yaml(config: Config) -> str:
    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)


@lru_cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


def _nested(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Dotted keys to nested ones; a plain value for a section becomes its first field; unknown keys are refused."""
    inner = _sections(Config)
    tree: dict[str, Any] = {}
    for name, value in values.items():
        key = SHORT.get(str(name), str(name))
        if key in inner and isinstance(value, Mapping):
            branch = {f"{key}.{name}": leaf for name, leaf in value.items()}
        elif key in inner:
            branch = {f"{key}.{fields(inner[key])[0].name}": value}
        else:
            branch = {key: value}
        for dotted, leaf in branch.items():
            if dotted not in keys():
                place = f" in {where}" if where else ""
                raise refusal(f"setting {dotted!r}{place}", "a known one", dotted, near=[*keys(), *SHORT])
            if isinstance(leaf, Path):
                leaf = str(leaf)  # noqa: PLW2901 (paths are text in the tree)
            head, _, tail = dotted.partition(".")
            if tail:
                tree.setdefault(head, {})[tail] = leaf
            else:
                tree[head] = leaf
    return tree


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    return base | {k: _merge(base[k], v) if isinstance(v, Mapping) else v for k, v in over.items()}


def _sentence(error: ValidationError, where: str) -> Refusal:
    """The first of pydantic's complaints as one sentence in the house's form."""
    problems = error.errors(include_url=False)
    # A union complains once per branch, with the branch's name behind the key: cut the place back to a known key.
    place = [str(p) for p in problems[0]["loc"]]
    while place and ".".join(place) not in keys():
        place.pop()
    key = ".".join(place)
    mine = [p for p in problems if ".".join(map(str, p["loc"])).startswith(key)]
    wanted = " or ".join(dict.fromkeys(_wanted(p) for p in mine))
    got = problems[0]["input"]
    thing = f"{key} in {where}" if where else key
    choices = [
        c.strip(" '")
        for p in mine
        if p["type"] == "literal_error"
        for c in p.get("ctx", {})["expected"].replace(" or ", ",").split(",")
    ]
    return refusal(thing, wanted, got, near=choices)


def _wanted(problem: Any) -> str:  # noqa: PLR0911 (one line per kind of complaint)
    """What pydantic expected, in plain words."""
    ctx = problem.get("ctx", {})
    match problem["type"]:
        case "greater_than":
            return f"greater than {ctx['gt']:g}"
        case "greater_than_equal":
            return f"at least {ctx['ge']:g}"
        case "less_than":
            return f"less than {ctx['lt']:g}"
        case "less_than_equal":
            return f"at most {ctx['le']:g}"
        case "int_parsing" | "int_type" | "int_from_float":
            return "a whole number"
        case "float_parsing" | "float_type":
            return "a number"
        case "finite_number":
            return "a finite number"
        case "bool_parsing" | "bool_type":
            return "true or false"
        case "string_type":
            return "text"
        case "literal_error":
            return "one of " + ctx["expected"].replace("'", "").replace(" or ", ", ")
        case "value_error":
            return str(ctx["error"])
        case "too_short" | "too_long":
            return f"{ctx.get('min_length', ctx.get('max_length'))} values"
        case _:
            return problem["msg"][0].lower() + problem["msg"][1:]
