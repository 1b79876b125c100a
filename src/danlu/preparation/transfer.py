"""Transfer learning: load trained weights, copy the tensors that fit a network, and freeze layers.

Tensors are copied by name and shape. In the classifier, the tensors whose shape depends on the number of classes, only
the rows of classes with the same name are copied; its other rows keep their random initialisation.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from danlu.config import Config
from danlu.detection.build import DETECTORS
from danlu.detection.detector import Detector
from danlu.engine.checkpoint import read_tensors
from danlu.message import Message, message
from danlu.models.backbone import Backbone
from danlu.models.layer_depth import head_name, levels, within
from danlu.models.library import TimmBackbone, timm_weights
from danlu.models.packaged import PACKAGED, PackagedWeights
from danlu.models.parts import stay_in_eval
from danlu.pretraining.pretrainer import Pretrainer
from danlu.refuse import Refusal, refusal
from danlu.run.folder import Run
from danlu.run.signature import Signature
from danlu.segmentation.segmenter import Segmenter

PUBLISHED = "timm:pretrained"
ALL_BUT_HEAD = "all-but-head"
PICKLED = (".pt", ".pth")
MAX_NAMES = 6  # tensors that a sentence lists by name


@dataclass(frozen=True)
class Source:
    """Trained weights by tensor name, with the signature of their network where the file has one.

    name: as the user wrote it.
    """

    name: str
    state: dict[str, Tensor]
    signature: Signature | None = None


def open_source(config: Config, kept: Path | None = None) -> Source | None:
    """Load the weights that `--init` names; None without it.

    kept: the run's own copy, read instead if it exists, so that a run can be resumed without its source. Raises Refusal
    when there are no weights under that name, or they are damaged.
    """
    init = config.transfer.start
    if init is None:
        return None
    if config.model.pretrained:
        raise refusal("--model.pretrained", message("preparation.wanted.omitted_init", "omitted with --init"), True)
    if kept is not None and kept.is_file():
        return _read(init, kept)
    if init == PUBLISHED or init.startswith("timm/"):
        return _published(config)
    if init in PACKAGED:
        return _packaged(config, PACKAGED[init])
    path = Path(init)
    if (path / "config.yaml").is_file():
        return _pretrained_backbone(_read(init, Run(path).weights("best")), config)
    if path.is_file() and path.suffix in (".safetensors", *PICKLED):
        return _pretrained_backbone(_read(init, path), config)
    beside = path.parent if path.parent.is_dir() else Path("runs")
    near = [str(one.parent) for one in sorted(beside.glob("*/config.yaml"))]
    near += [str(one) for one in sorted(beside.glob("*.safetensors"))]
    wanted = message(
        "preparation.wanted.run_safetensors_pt_pth",
        "a run, a .safetensors, .pt or .pth file, none, timm/NAME, or a packaged network",
    )
    raise refusal("--init", wanted, init, near=[*near, "none", PUBLISHED, *PACKAGED])


def _published(config: Config) -> Source:
    init = config.transfer.init or ""
    library, _, name = (init if init.startswith("timm/") else config.model.name or "").partition("/")
    if library != "timm":
        raise refusal(
            f"--model with --init {PUBLISHED}", message("preparation.wanted.timm_name", "timm/NAME"), config.model.name
        )
    found = timm_weights(name, config.data.size or 224)
    shape = {"channels": found.channels, "mean": found.mean, "std": found.std}
    return Source(init, found.state, Signature(task="classify", model=f"timm/{name}", **shape))


def _packaged(config: Config, weights: PackagedWeights) -> Source:
    """Weights that an installed package contains. Raises Refusal if the config names another network."""
    model = f"timm/{weights.network}"
    if config.model.name not in (None, model, *DETECTORS):
        raise refusal(f"--model with --init {weights.name}", model, config.model.name)
    shape = {"channels": len(weights.mean), "mean": weights.mean, "std": weights.std}
    return Source(weights.name, weights.load().state, Signature(task="classify", model=model, **shape))


def _pretrained_backbone(source: Source, config: Config) -> Source:
    """The backbone of a pretraining as weights of a classifier without a head; other sources unchanged.

    Raises Refusal if the config names another network.
    """
    then = source.signature
    if then is None or then.task_spec.targets != "none":
        return source
    if config.model.name not in (None, then.model, *DETECTORS):
        do = message("preparation.do.leave_model_out", "leave --model out to use the network of the source")
        raise refusal(f"--model with --init {source.name}", then.model, config.model.name, do=do)
    prefix = "backbone.network." if then.model.startswith("timm/") else "backbone."
    state = {name.removeprefix(prefix): one for name, one in source.state.items() if name.startswith(prefix)}
    return Source(source.name, state, replace(then, task="classify"))


def _read(name: str, path: Path) -> Source:
    signature, state = (None, _read_pickled(path)) if path.suffix in PICKLED else read_tensors(path)
    if signature is not None and signature.members:
        raise refusal(
            "--init",
            message("preparation.wanted.weights_network", "weights of one network"),
            name,
            do=message("preparation.do.ensemble_name_folds", "it is an ensemble: name one of its folds"),
        )
    return Source(name, state, signature)


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """Read a state dict saved by torch, also under the key `model` or `state_dict`, without running the file's code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the pickle format
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        why = message(
            "preparation.why.contains_objects_other_tensors",
            "it contains objects other than tensors and plain values, which could run code",
        )
        raise Refusal(
            message(
                "preparation.refuse.weights_file_read", "weights file {path} is not read: {why}", path=path, why=why
            )
        ) from None
    except Exception:  # torch raises many types for a damaged file
        raise Refusal(
            message(
                "preparation.refuse.weights_file_damaged_truncated",
                "weights file {path} is damaged: it is truncated or was not saved by torch",
                path=path,
            )
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not tensors:
        raise Refusal(
            message(
                "preparation.refuse.weights_file_contains_named",
                "weights file {path} contains no named tensors",
                path=path,
            )
        )
    for prefix in ("module.", "_orig_mod."):  # of a network wrapped by DDP or torch.compile
        if all(str(key).startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


@dataclass
class Transfer:
    """Tensors that are copied from a source into a network, by name.

    whole: tensors copied unchanged. colours: of the input layer, summed or spread over the colour channels.
    outputs: tensors with one row per class, of which the rows `pairs` (network, source) are copied; classes: the names
    of these rows. left: the network's other tensors, with the reason. unused: tensors of the source that the network
    does not have. copied, weights: number of copied parameters, and of all. prefix: of the network's names for the
    source's tensors, where the source is the backbone of a detector.
    """

    source: Source
    whole: list[str] = field(default_factory=list)
    colours: dict[str, Message] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    left: dict[str, Message] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    copied: int = 0
    weights: int = 0
    prefix: str = ""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors of the source under the network's names."""
        return {self.prefix + name: tensor for name, tensor in self.source.state.items()}

    @torch.no_grad()
    def fill(self, model: nn.Module) -> None:
        """Copy the tensors into a network of the matched architecture, in place."""
        own, there = model.state_dict(), self.tensors
        for name in self.whole:
            own[name].copy_(there[name])
        for name in self.colours:
            own[name].copy_(_recoloured(there[name], own[name].shape[1]))
        for name in self.outputs:
            for new, old in self.pairs:
                own[name][new] = there[name][old].to(own[name].dtype)

    def sentences(self) -> list[Message]:
        """Describe which tensors were copied and which were not."""
        tensors = len(self.whole) + len(self.colours) + len(self.outputs)
        everything = tensors + len(self.left)
        text = "{weights:,} of {all_weights:,} weights, {tensors} of {all_tensors} tensors copied by name and shape"
        counts = {"weights": self.copied, "all_weights": self.weights, "tensors": tensors, "all_tensors": everything}
        sentences = [message("transfer.copied", text, **counts)]
        sentences += [
            message("transfer.colours", "{tensor}: {how}", tensor=name, how=how) for name, how in self.colours.items()
        ]
        if self.outputs:
            text = "{tensors}: only the rows of {classes}, which have the same names in the source"
            values = {"tensors": _listed(self.outputs), "classes": _listed(self.classes)}
            sentences.append(message("transfer.rows", text, **values))
        if self.left:
            left = _listed(
                [message("transfer.left", "{tensor} ({why})", tensor=name, why=why) for name, why in self.left.items()]
            )
            sentences.append(message("transfer.not_copied", "not copied: {tensors}", tensors=left))
        if self.unused:
            unused = _listed(self.unused)
            sentences.append(message("transfer.unused", "unused tensors of the source: {tensors}", tensors=unused))
        return sentences

    def to_dict(self) -> dict[str, Any]:
        """JSON form for the summary, with the names of all tensors."""
        names = ("whole", "colours", "outputs", "classes", "left", "unused", "copied", "weights")
        return {"from": self.source.name} | {name: getattr(self, name) for name in names}


def match(source: Source, model: nn.Module, wider: nn.Module, signature: Signature) -> Transfer:
    """Find the tensors of a source that fit a network.

    wider: the same network with one more output; tensors whose shapes differ between the two are the classifier.
    signature: of the network. Raises Refusal if no layer fits.
    """
    own, parameters = model.state_dict(), {name for name, _ in model.named_parameters()}
    classifier = {name for name, tensor in wider.state_dict().items() if tensor.shape != own[name].shape}
    old, new = _outputs(source.signature, signature.task), _outputs(signature, signature.task)
    weights = sum(own[name].numel() for name in parameters)
    found = Transfer(source, weights=weights, prefix=_backbone_prefix(source, model))
    there = found.tensors
    found.pairs = [(new.index(name), old.index(name)) for name in new if name in old]
    found.classes = [new[here] for here, _ in found.pairs]
    for name, tensor in own.items():
        if name not in there:
            found.left[name] = message("transfer.absent", "not in the source")
        elif name in classifier and source.signature is not None:
            _match_outputs(found, name, tensor, there[name], old, name in parameters)
        elif there[name].shape == tensor.shape:
            found.whole.append(name)
        elif how := _colours(there[name], tensor):
            found.colours[name] = how
        else:
            found.left[name] = message(
                "transfer.shapes", "{there} there, {here} here", there=_shape(there[name]), here=_shape(tensor)
            )
    found.unused = [name for name in there if name not in own]
    rows = sum(own[name][0].numel() for name in found.outputs) * len(found.pairs)
    found.copied = rows + sum(own[name].numel() for name in (*found.whole, *found.colours) if name in parameters)
    if not (found.outputs or found.colours or any(own[name].ndim > 1 for name in found.whole)):
        whose = f"weights of {source.signature.model}" if source.signature else "weights of another network"
        do = (
            message("preparation.do.leave_model_out_use", "leave --model out to use the network of the source")
            if source.signature
            else message("preparation.do.choose_network_model", "choose its network by --model")
        )
        raise Refusal(
            message(
                "preparation.refuse.init_weights_fit_got",
                "--init must be weights that fit {model}, got {name!r}, {whose}, in which no layer has "
                "the same name and shape; {do}",
                model=signature.model,
                name=source.name,
                whose=whose,
                do=do,
            )
        )
    return found


def _backbone_prefix(source: Source, model: nn.Module) -> str:
    """Prefix of a detector's names for its backbone's tensors, where the source is no detector; "" elsewhere."""
    if isinstance(model, Pretrainer):
        return "backbone.network." if isinstance(model.backbone, TimmBackbone) else "backbone."
    if source.signature is None or source.signature.task_spec.on_canvas or not isinstance(model, Detector | Segmenter):
        return ""
    return backbone_prefix(model)


def backbone_prefix(model: Detector | Segmenter) -> str:
    """Prefix of the names of a detector's parameters that belong to the network its backbone is made from."""
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, Backbone):
        return ""
    return "backbone.network." if isinstance(backbone, TimmBackbone) else "backbone."


def _outputs(signature: Signature | None, task: str) -> Sequence[str]:
    """Names of the outputs in order; none for another task."""
    if signature is None or signature.task != task:
        return ()
    return signature.classes or signature.target_names


def _match_outputs(
    found: Transfer, name: str, here: Tensor, there: Tensor, old: Sequence[str], parameter: bool
) -> None:
    if not parameter:  # fixed code vectors of the classes
        found.left[name] = message("transfer.fixed", "fixed by the number of classes")
    elif there.shape != (len(old), *here.shape[1:]):
        shapes = {"there": _shape(there), "here": _shape(here)}
        text = "new, for other classes: {there} there, {here} here"
        found.left[name] = message("transfer.other_classes", text, **shapes)
    elif not found.pairs:
        found.left[name] = message("transfer.no_shared_class", "new, as no class has the same name")
    else:
        found.outputs.append(name)


def _colours(there: Tensor, here: Tensor) -> Message | None:
    """Describe how kernels (O, C, h, w) of an input layer fit another number of colours; None where they do not."""
    same = there.ndim == here.ndim == 4 and there.shape[0] == here.shape[0] and there.shape[2:] == here.shape[2:]
    if not same or there.shape[1] == here.shape[1] or there.shape[1] not in (1, 3):
        return None
    before, now = there.shape[1], here.shape[1]
    if before == 3 and now != 1:
        text = "the kernels of red, green and blue are repeated over {channels} channels and scaled by 3/{channels}"
        return message("transfer.repeated_kernels", text, channels=now)
    if now == 1:
        return message("transfer.summed_kernels", "the kernels of red, green and blue are summed into one for grey")
    if now != 3:
        text = "the grey kernel divided by {channels} is used for each of {channels} channels"
        return message("transfer.spread_over_channels", text, channels=now)
    return message("transfer.spread_kernels", "a third of the grey kernel is used for each of red, green and blue")


def _recoloured(kernels: Tensor, channels: int) -> Tensor:
    """Sum, spread or repeat the kernels (O, C, h, w); images of equal channels get equal outputs in each form."""
    if channels == 1:
        return kernels.sum(1, keepdim=True)
    before = kernels.shape[1]
    return kernels.repeat(1, -(-channels // before), 1, 1)[:, :channels] * (before / channels)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _listed(names: Sequence[str]) -> list[str]:
    """The first names, and the number of those left out."""
    if len(names) <= MAX_NAMES:
        return list(names)
    return [
        *names[:MAX_NAMES],
        message("transfer.more", "and {count} more (all in summary.json)", count=len(names) - MAX_NAMES),
    ]


def frozen_parts(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Modules and parameters that `--freeze` names, as prefixes of dotted names.

    Raises Refusal if a pattern matches nothing, with the nearest names, or when nothing is left to train.
    """
    parameters = [name for name, _ in model.named_parameters()]
    known = {".".join(parts[:i]) for parts in (n.split(".") for n in parameters) for i in range(1, len(parts) + 1)}
    parts: list[str] = []
    for pattern in patterns:
        if pattern == ALL_BUT_HEAD:
            first = dict.fromkeys(name.partition(".")[0] for name in parameters)
            parts += [name for name in first if name != head_name(model)]
        elif pattern in known:
            parts.append(pattern)
        else:
            near = [n for n in known if n.count(".") <= pattern.count(".")]
            raise refusal(
                "--freeze",
                message("preparation.wanted.parts_network_parameters", "parts of the network with parameters"),
                pattern,
                near=[*near, ALL_BUT_HEAD],
            )
    if all(any(within(name, part) for part in parts) for name in parameters):
        raise refusal(
            "--freeze",
            message("preparation.wanted.such_some_parameters_still", "such that some parameters are still trained"),
            ",".join(patterns),
            do=message("preparation.do.all_head_trains_head", "all-but-head trains the head only"),
        )
    return parts


def freeze(model: nn.Module, parts: Sequence[str]) -> None:
    """Freeze these parts, in place: no gradients, and their modules stay in eval mode even after `model.train()`.

    Batch norms then use their running statistics without updating them, and dropout is off.
    """
    for name, parameter in model.named_parameters():
        if any(within(name, part) for part in parts):
            parameter.requires_grad_(False)
    for name, module in model.named_modules():
        if any(within(name, part) for part in parts):
            stay_in_eval(module)


def freeze_norms(model: nn.Module) -> None:
    """Keep every batch norm in eval mode, with its running statistics; scale and shift are still trained.

    Of a detector, only those of its backbone: the others have no statistics yet.
    """
    pretrained = getattr(model, "backbone", model) if isinstance(model, Detector | Segmenter) else model
    for module in pretrained.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            stay_in_eval(module)


def lr_factors(model: nn.Module, decay: float) -> dict[str, float]:
    """Learning-rate factor of each parameter by name: 1 in the head, `decay` one stage before it, decay^2 before that.

    Discriminative fine-tuning: Howard and Ruder, "Universal Language Model Fine-tuning", 2018, section 3.1.
    """
    depths = levels(model)
    return {name: decay ** (len(depths) - 1 - depth) for depth, names in enumerate(depths) for name in names}
