"""The searched settings: by name, with ranges around danlu's own values, or with the user's ranges from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from danlu.config import SHORT_FLAGS, Config, get, keys, with_values
from danlu.config.settings import SYNONYMS
from danlu.config.yaml_text import read_yaml
from danlu.learning.optim import OPTIMIZERS, find_optimizer
from danlu.message import message
from danlu.models.network_table import MODELS, find_network
from danlu.preparation.prepared import Prepared
from danlu.refuse import Refusal, nearest, refusal, system_reason
from danlu.task_spec import TASKS
from danlu.tuning.dimension import Dimension, short_name

FACTOR = 30  # a learning rate or weight decay is searched from its usual value / FACTOR to its usual value x FACTOR
MAX_DECAY, MAX_SMALL_DECAY = 1.0, 1e-2  # upper ends; the second where danlu uses no weight decay
SMALL_IMAGES = 40  # pixels
NETWORKS = {
    "table": ("linear", "mlp"),
    "small": ("small-cnn", "lenet", "resnet20"),
    "large": ("resnet18", "resnet34", "mobilenetv2"),
}
SEARCHED_OPTIMIZERS = ("nesterov", "adamw")
BATCHES = (0.25, 0.5, 1, 2, 4)  # times the usual batch size
FORBIDDEN = ("data.", "out", "device", "devices", "seed", "epochs", "doctor.", "metrics", "callbacks", "task")


def find_key(name: str, thing: str) -> str:
    """Dotted key of a setting by its short name, its key, or its last word: "lr", "weight_decay", "model.dropout"."""
    name = name.strip().replace("-", "_")
    name = SYNONYMS.get(name, name)
    key = SHORT_FLAGS.get(name, name)
    if key not in keys():
        same = [one for one in keys() if one.rpartition(".")[2] == name]
        if len(same) != 1:
            usual = [short_name(one) for one in NAMED]
            near = same or (usual if not nearest(name, keys()) else [*usual, *keys()])
            raise refusal(thing, message("tuning.wanted.names_settings", "names of settings"), name, near=near)
        key = same[0]
    if key.startswith(FORBIDDEN):
        raise Refusal(
            message(
                "tuning.refuse.settings_search_may_change",
                "{thing} must be settings that a search may change, got {name!r}, which all its trainings share",
                thing=thing,
                name=name,
            )
        )
    return key


def default_names(prepared: Prepared) -> list[str]:
    """Settings to search when the user names none."""
    if TASKS[prepared.dataset.task].finds_objects or prepared.images is None:
        return ["optim.lr", "optim.weight_decay"]
    return ["optim.lr", "optim.weight_decay", "augment.preset"]


def named_space(names: list[str], prepared: Prepared) -> list[Dimension]:
    """Dimensions of `--search`. Raises Refusal for names without a usual range, or that do not fit the network."""
    found = [find_key(name, "--search") for name in names]
    return [_dimension(key, prepared, found) for key in found]


def space_from_file(path: str | Path, base: Config) -> list[Dimension]:
    """Dimensions of a YAML file: `lr: {low: 1e-4, high: 0.1, log: true}` or `batch_size: [32, 64]`, one setting a line.

    base: config that the values must fit. Raises Refusal with the file, the setting and what is wrong.
    """
    try:
        values = read_yaml(path)
    except (OSError, yaml.YAMLError, ValueError) as error:
        why = getattr(error, "problem", None) or system_reason(error)
        raise Refusal(
            message(
                "tuning.refuse.space_readable_yaml_file",
                "--space must be a readable YAML file, got {path}: {why}",
                path=path,
                why=why,
            ),
            "--space",
        ) from None
    if not isinstance(values, Mapping) or not values:
        raise refusal(
            f"--space {path}",
            message("tuning.wanted.yaml_mapping_settings_ranges", "a YAML mapping from settings to ranges or lists"),
            message("tuning.nothing", "an empty file") if values is None else type(values).__name__,
        )
    return [_from_file(f"--space {path}: {name}", str(name), wanted, base) for name, wanted in values.items()]


def _from_file(thing: str, name: str, wanted: Any, base: Config) -> Dimension:
    key = find_key(name, thing.rpartition(": ")[0])
    if isinstance(wanted, list) and len(wanted) > 1:
        choices = tuple(",".join(map(str, one)) if isinstance(one, list) else one for one in wanted)
        for choice in choices:
            _check_value(thing, base, key, choice)
        return Dimension(key, centre=None, choices=choices)
    if not isinstance(wanted, Mapping) or not {"low", "high"} <= wanted.keys() <= {"low", "high", "log"}:
        form = "{low: A, high: B, log: true|false}"
        values = message("tuning.wanted.values_or_range", "a list of at least two values, or {form}", form=form)
        raise refusal(thing, values, wanted)
    members = set(keys()[key].members)
    integer = int in members and float not in members
    try:
        low, high = (float(str(wanted[end])) for end in ("low", "high"))
    except ValueError:
        raise refusal(thing, message("tuning.wanted.range_numbers", "a range of numbers"), dict(wanted)) from None
    log = wanted.get("log", False)
    if not isinstance(log, bool) or not low < high < float("inf") or (log and low <= 0):
        raise refusal(
            thing,
            message("tuning.wanted.range_low_high_low", "a range with low < high, and low > 0 with log: true"),
            dict(wanted),
        )
    for end in (low, high):
        _check_value(thing, base, key, int(end) if integer else end)
    return Dimension(key, None, low, high, log=log, integer=integer)


def _check_value(thing: str, base: Config, key: str, value: Any) -> None:
    """Raise Refusal, with the file, for a value that the setting cannot have."""
    try:
        with_values(base, {key: value})
    except Refusal as refused:
        text = "{thing} has a value that does not fit: {why}"
        raise Refusal(message("tuning.refuse.value_in_space", text, thing=thing, why=str(refused)), thing) from None


def centred(space: list[Dimension], chosen: Config) -> list[Dimension]:
    """The dimensions with danlu's own values as centres, where they contain them."""
    return [one if one.centre is not None else _with_centre(one, _plain(get(chosen, one.key))) for one in space]


def _with_centre(one: Dimension, value: Any) -> Dimension:
    return replace(one, centre=value) if one.holds(value) else one


def _plain(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else value


def _dimension(key: str, prepared: Prepared, searched: list[str]) -> Dimension:
    chosen = prepared.config
    if key == "optim.beta1" and find_optimizer(chosen.optim.name or "").momentum != key:
        raise refusal(
            "--search", message("tuning.wanted.settings_uses", "settings that {name} uses", name=chosen.optim.name), key
        )
    if key in NAMED:
        return NAMED[key](chosen, prepared, searched)
    setting = keys()[key]
    centre = get(chosen, key)
    choices = (False, True) if setting.is_switch else tuple(c for c in setting.choices)
    if len(choices) < 2:
        raise Refusal(
            message(
                "tuning.refuse.search_usual_range_give",
                "--search has no usual range for {short_name}; give one in a file: --space FILE.yaml",
                short_name=short_name(key),
            ),
            "--search",
        )
    return Dimension(key, _plain(centre), choices=choices)


def _lr(chosen: Config, prepared: Prepared, searched: list[str]) -> Dimension:
    """Around the usual learning rate; around those of all optimisers that are searched."""
    centre = chosen.optim.lr or 0.0
    usual = [centre, *(OPTIMIZERS[name].lr for name in SEARCHED_OPTIMIZERS if "optim.name" in searched)]
    return Dimension("optim.lr", centre, min(usual) / FACTOR, max(usual) * FACTOR, log=True)


def _decay(chosen: Config, prepared: Prepared, searched: list[str]) -> Dimension:
    centre = chosen.optim.weight_decay or 0.0
    if not centre:
        return Dimension("optim.weight_decay", 0.0, 0.0, MAX_SMALL_DECAY)
    return Dimension("optim.weight_decay", centre, centre / FACTOR, min(centre * FACTOR, MAX_DECAY), log=True)


def _momentum(key: str) -> Callable[[Config, Prepared, list[str]], Dimension]:
    return lambda chosen, prepared, searched: Dimension(key, get(chosen, key), 0.5, 0.99)


def _batch_size(chosen: Config, prepared: Prepared, searched: list[str]) -> Dimension:
    centre = chosen.batch_size or 1
    sizes = dict.fromkeys(round(centre * factor) for factor in BATCHES)
    return Dimension("batch_size", centre, choices=tuple(one for one in sizes if 1 <= one <= len(prepared.split.train)))


def _augment(chosen: Config, prepared: Prepared, searched: list[str]) -> Dimension:
    if prepared.images is None:
        raise refusal(
            "--search", message("tuning.wanted.settings_table_rows", "settings that table rows have"), "augment"
        )
    return Dimension("augment.preset", chosen.augment.preset, choices=("none", "light", "strong"))


def _network(chosen: Config, prepared: Prepared, searched: list[str]) -> Dimension:
    centre, size = str(chosen.model.name), chosen.data.side or 0
    if TASKS[prepared.dataset.task].finds_objects or chosen.transfer.start or centre not in MODELS:
        text = (
            "--search model works for danlu's own classifiers from random initialisation; give a list with --space "
            "FILE.yaml"
        )
        raise Refusal(message("tuning.refuse.search_model", text), "--search")
    kind = "table" if prepared.images is None else "small" if size <= SMALL_IMAGES else "large"
    fitting = [name for name in NETWORKS[kind] if name in MODELS and MODELS[name].min_size <= max(size, 1)]
    return Dimension("model.name", centre, choices=tuple(dict.fromkeys([centre, *fitting])))


def _optimizer(chosen: Config, prepared: Prepared, searched: list[str]) -> Dimension:
    centre = str(chosen.optim.name)
    return Dimension("optim.name", centre, choices=tuple(dict.fromkeys([centre, *SEARCHED_OPTIMIZERS])))


def _dropout(chosen: Config, prepared: Prepared, searched: list[str]) -> Dimension:
    network = str(chosen.model.name)
    if "dropout" not in find_network(network).options:
        raise refusal(
            "--search", message("tuning.wanted.settings", "settings that {network} has", network=network), "dropout"
        )
    return Dimension("model.dropout", chosen.model.dropout or 0.0, 0.0, 0.5)


def _smoothing(chosen: Config, prepared: Prepared, searched: list[str]) -> Dimension:
    if chosen.loss.name != "cross-entropy":
        raise refusal(
            "--search",
            message("tuning.wanted.settings_loss", "settings that the loss {name} has", name=chosen.loss.name),
            "smoothing",
        )
    return Dimension("loss.smoothing", chosen.loss.smoothing, 0.0, 0.2)


def _schedule(chosen: Config, prepared: Prepared, searched: list[str]) -> Dimension:
    centre = str(chosen.schedule.name)
    return Dimension("schedule.name", centre, choices=tuple(dict.fromkeys([centre, "one-cycle", "cosine", "constant"])))


# Setting -> its dimension, for (the settings danlu chose, the data, all searched settings).
NAMED: dict[str, Callable[[Config, Prepared, list[str]], Dimension]] = {
    "optim.lr": _lr,
    "optim.weight_decay": _decay,
    "optim.momentum": _momentum("optim.momentum"),
    "optim.beta1": _momentum("optim.beta1"),
    "optim.name": _optimizer,
    "batch_size": _batch_size,
    "augment.preset": _augment,
    "model.name": _network,
    "model.dropout": _dropout,
    "loss.smoothing": _smoothing,
    "schedule.name": _schedule,
}
