"""Copying of the trained weights that fit a network.

Tensors are copied by name and shape. In the classifier, the tensors whose shape depends on the number of classes, only
the rows of classes with the same name are copied; its other rows keep their random initialisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from danlu.detection.detector import Detector
from danlu.message import Message, message
from danlu.models.backbone import Backbone
from danlu.models.layer_depth import module_name
from danlu.models.library import TimmBackbone
from danlu.preparation.weights_source import Source
from danlu.pretraining.pretrainer import Pretrainer
from danlu.refuse import Refusal
from danlu.run.signature import Signature
from danlu.segmentation.segmenter import Segmenter

MAX_NAMES = 6  # tensors that a sentence lists by name


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
            if old == new and there[name].shape == tensor.shape and name in parameters:
                found.whole.append(name)  # also with several rows per class, as of anchors
            else:
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
        whose = message("preparation.weights_of_another", "weights of another network")
        if source.signature:
            whose = message("preparation.weights_of", "weights of {model}", model=source.signature.model)
        do = (
            message("preparation.do.leave_model_out", "leave --model out to use the network of the source")
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
    place = module_name(model, backbone)
    return f"{place}.network." if isinstance(backbone, TimmBackbone) else f"{place}."


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
    """Describe how kernels (O, C, h, w) of an input layer fit another number of colours; None if they do not."""
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
