"""Default settings of a training with a network or an optimiser of the user."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from danlu.learning.optim import OPTIMIZERS
from danlu.message import message
from danlu.preparation.choices import Chooser
from danlu.refuse import Refusal
from danlu.user_objects import find, is_own

LR = 1e-3  # of Adam and its like, for a network of the user
CLIP_NETWORK = "r2plus1d-mini"  # default for clips


def choose_for_own(chooser: Chooser) -> None:
    """Optimiser settings: those of the user's optimiser, or general defaults for a network of the user."""
    if is_own(chooser["optim.name"]):
        own = find("optimizer", chooser["optim.name"])
        reason = message("choice.own_optimiser", "that of your {optimiser}", optimiser=own.name.partition(":")[2])
        chooser.pick("optim.lr", own.lr if own.lr else LR, reason)
        chooser.pick("optim.weight_decay", own.weight_decay, reason)
    else:
        chooser.pick("optim.name", "adamw", message("choice.optimiser.robust", "robust for this network"))
        if OPTIMIZERS[chooser["optim.name"]].divisor == "recent":
            reason = message("choice.lr.usual", "usual for {optimiser}", optimiser=chooser["optim.name"])
            chooser.pick("optim.lr", LR, reason)


def choose_network_for_tensors(chooser: Chooser, dataset: Any) -> None:
    """A network of danlu for tensors of the user; refused for shapes that none takes."""
    shape = tuple(dataset.inputs.shape)[1 if isinstance(dataset.inputs, Tensor) else 0 :]
    if chooser["model.name"] is not None:
        return
    if len(shape) == 4 and shape[2] == shape[3] and shape[1] in (1, 3):
        chooser.pick("model.name", CLIP_NETWORK, message("choice.network.clips", "clips: it sees motion"))
        return
    if len(shape) != 3 or shape[1] != shape[2] or shape[0] not in (1, 3):
        if len(shape) == 1:
            return
        raise Refusal(
            message(
                "preparation.refuse.model_given_inputs_shape",
                "model must be given for inputs of shape {shape}: danlu's own networks take rows (D,) "
                "square images (1, S, S) or (3, S, S) and clips (T, 1, S, S) or (T, 3, S, S)",
                shape=str(shape),
            ),
            "model",
        )
    name = "small-cnn" if shape[1] <= 16 else "lenet" if shape[1] <= 40 and shape[0] == 1 else "resnet20"
    if shape[1] > 80:
        name = "resnet18"
    chooser.pick("model.name", name, message("choice.network.images", "images of {side} px", side=shape[1]))
