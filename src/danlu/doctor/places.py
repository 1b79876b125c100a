"""Places of findings that are no name in the model: splits, outputs, classes, kinds of memory."""

from __future__ import annotations

from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.message import Message

TRAINING = message("doctor.place.training", "training")
VALIDATION = message("doctor.place.validation", "validation")
PHASES = {"train": message("doctor.place.train", "train"), "val": message("doctor.place.val", "val")}
OUTPUT = message("doctor.place.output", "output")
LOSS = message("doctor.place.loss", "loss")
INPUTS = message("doctor.place.inputs", "inputs")
LABELS = message("doctor.place.labels", "labels")
BEFORE_TRAINING = message("doctor.place.before_training", "before training")
MEMORY = {
    "memory.process": message("doctor.place.process", "process"),
    "memory.process_step": message("doctor.place.process_step", "process"),
    "memory.device": message("doctor.place.device", "device"),
}


FUNCTIONAL = message("doctor.place.functional", "a matrix product outside any layer")


def class_label(ledger: Ledger, number: int) -> int | str:
    """Name of a class if names were passed, otherwise its number."""
    return ledger.last("class.name", str(number), number)


def column_name(ledger: Ledger, number: int) -> int | str:
    """Name of a column of the inputs if names were passed, otherwise its number."""
    names = ledger.last("input.columns", default=[])
    columns = len(ledger.last("input.feature_stds", "train", []))
    return names[number] if len(names) == columns > number else number


def class_place(label: int | str) -> Message:
    """The class with this name or number."""
    return message("doctor.place.class", "class {number}", number=label)


def group_place(ledger: Ledger, label: str) -> Message | str:
    """A group of parameters of an optimiser ("optimizer0.group1"); nothing if there is only one."""
    if len(ledger.wheres("optimizer.lr")) <= 1:
        return ""
    optimizer, _, group = label.partition(".")
    numbers = [int("".join(filter(str.isdigit, part)) or 0) for part in (optimizer, group)]
    text = "parameter group {group} of optimiser {optimizer}"
    return message("doctor.place.group", text, optimizer=numbers[0] + 1, group=numbers[1] + 1)


def layer_place(name: str) -> str:
    """A layer's name within a sentence; a bare number, as in nn.Sequential, is introduced as a layer.

    ">NAME" is the function that forward() applies to the input of a layer (layer.activation in names.py).
    """
    if name.startswith(">"):
        return message("doctor.place.before", "the function before {layer}", layer=layer_place(name[1:]))
    return message("doctor.place.layer", "layer {name}", name=name) if name.isdigit() else name
