"""Value types of settings, and the parsing of their text forms."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

Channels = Literal["grey", "rgb", "all"]
Activation = Literal["relu", "tanh", "sigmoid", "leaky", "gelu", "silu", "scaled-sigmoid", "scaled-tanh", "none"]
OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "muon"]
ScheduleName = Literal["constant", "step", "exponential", "cosine", "one-cycle", "plateau"]
LossName = Literal["cross-entropy", "binary-cross-entropy", "focal", "perceptron", "squared", "absolute", "huber"]
AugmentPreset = Literal["none", "light", "strong"]
Flip = Literal["none", "lr", "ud", "both"]
OwnName = Annotated[str, Field(pattern=r"^own:")]  # stands for an object of the user, see `user_objects.py`
Precision = Literal["fp32", "bf16", "fp16"]
Language = Literal["en", "zh"]


def parse_split_size(value: Any) -> Any:
    """A fraction in (0, 1), a number of samples (0: none), or a path; text that is a number becomes a number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    if 0 < number < 1:
        return number
    if number >= 0 and number.is_integer():
        return int(number)
    raise ValueError("a fraction between 0 and 1, a number of samples, 0 for none, or a path")


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


SplitSize = Annotated[float | int | str, BeforeValidator(parse_split_size)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(split_commas)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(split_commas)]
