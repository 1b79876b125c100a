"""Value types of settings, and the parsing of their text forms."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from danlu.message import message

MAX_COUNT = 10**9  # far beyond any training; larger integers overflow in sizes and steps
MAX_SIDE = 65_536  # pixels of an image
MAX_WORKERS = 1_024  # processes

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Workers = Annotated[int, Field(ge=0, le=MAX_WORKERS)]
Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Port = Annotated[int, Field(ge=0, lt=2**16)]

Channels = Literal["grey", "rgb", "all"]
Activation = Literal["relu", "tanh", "sigmoid", "leaky", "gelu", "silu", "scaled-sigmoid", "scaled-tanh", "none"]
OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "muon"]
ScheduleName = Literal["constant", "step", "exponential", "cosine", "one-cycle", "plateau"]
OptimizerForm = Literal["torch", "notes"]
LossName = Literal[
    "cross-entropy",
    "binary-cross-entropy",
    "focal",
    "perceptron",
    "margin",
    "brier",
    "squared",
    "absolute",
    "huber",
    "dice",
    "dice-cross-entropy",
    "lovasz",
]
PoseLossName = Literal["ploss", "sloss", "symmetries"]
AugmentPreset = Literal["none", "light", "strong"]
Flip = Literal["none", "lr", "ud", "both"]
OwnName = Annotated[str, Field(pattern=r"^own:")]  # stands for an object of the user, see `user_objects.py`
Precision = Literal["fp32", "bf16", "fp16"]
Language = Literal["en", "zh"]
PretrainingMethod = Literal["mae", "simmim", "beit", "simclr", "simsiam", "byol"]
TokenizerName = Literal["vq", "kmeans"]
LoggerName = Literal["tensorboard", "mlflow", "wandb", "trackio"]


def parse_split_size(value: Any) -> Any:
    """A fraction in (0, 1), a number of samples (0: none), or a path; text that is a number becomes a number."""
    text = "a fraction between 0 and 1, a number of samples, 0 for none, or a path"
    wanted = message("config.wanted.split_size", text)
    if value == "":
        raise ValueError(wanted)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    if 0 < number < 1:
        return number
    if number >= 0 and number.is_integer():
        return int(number)
    raise ValueError(wanted)


def split_commas(value: Any) -> Any:
    """A list written as "256,128" on the command line; one plain number is a list of one."""
    if isinstance(value, str):
        return value.split(",")
    return [value] if isinstance(value, int | float) else value


def parse_numbers(value: Any) -> Any:
    """A list that may be empty, "none"."""
    return () if value == "none" else split_commas(value)


def parse_names(value: Any) -> Any:
    """A list of names; "none" undoes what a config file sets."""
    return None if value == "none" else split_commas(value)


def increasing(values: tuple[float, ...]) -> tuple[float, ...]:
    """The values if each is greater than the one before."""
    if any(later <= earlier for earlier, later in pairwise(values)):
        raise ValueError(message("config.wanted.increasing", "in increasing order"))
    return values


SplitSize = Annotated[float | int | str, BeforeValidator(parse_split_size)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(split_commas)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(split_commas)]
Milestones = Annotated[tuple[Positive, ...], BeforeValidator(parse_numbers), AfterValidator(increasing)]
