"""Configs from nested or dotted values, every value checked, and back to plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import TypeAdapter, ValidationError

from danlu.config.refusals import sentence
from danlu.config.settings import FORMER, SHORT, SHORT_FLAGS, SYNONYMS, keys, sections
from danlu.config.tree import Config, DoctorConfig
from danlu.config.values import Language
from danlu.config.yaml_text import YamlTooLarge, read_yaml, to_yaml
from danlu.message import language, message
from danlu.refuse import Refusal, did_you_mean, nearest, nearest_files, refusal, system_reason


def new_config() -> Config:
    """A config with nothing set; `doctor.language` is the current language."""
    return Config(doctor=DoctorConfig(language=cast(Language, language())))


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
        raise sentence(error, where) from None


def to_dict(config: Config) -> dict[str, Any]:
    """The tree as plain dictionaries, lists and numbers."""
    return plain(dataclasses.asdict(config))


def plain(value: Any) -> Any:
    """A value of a setting as YAML and JSON give it back: tuples as lists, also inside dictionaries."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value


def load_yaml(path: str | Path) -> Config:
    """Read a config file. Raises Refusal if it is missing, not YAML, or holds an unknown key or a wrong value."""
    try:
        values = read_yaml(path)
    except YamlTooLarge as error:
        raise Refusal(
            message(
                "config.refuse.yaml_settings", "{path} must be YAML of settings: {error}", path=path, error=str(error)
            )
        ) from None
    except OSError as error:
        near = nearest_files(str(path)) if isinstance(error, FileNotFoundError) else []
        wanted = message("config.wanted.readable_file", "a readable file")
        raise refusal("--config", wanted, str(path), near=near, do="" if near else system_reason(error)) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: bytes that are not text, a 13th month
        mark = getattr(error, "problem_mark", None)
        line = message("config.line", " line {number}", number=mark.line + 1) if mark else ""
        problem = getattr(error, "problem", None) or message(
            "config.unreadable", "it cannot be read as text and plain values"
        )
        raise Refusal(
            message("config.refuse.yaml", "{path}{line} must be YAML: {problem}", path=path, line=line, problem=problem)
        ) from None
    if values is not None and not isinstance(values, Mapping):
        raise refusal(
            str(path),
            message("config.wanted.yaml_mapping_settings", "a YAML mapping of settings"),
            type(values).__name__,
        )
    return from_dict(values or {}, where=str(path))


def dump_yaml(config: Config) -> str:
    """The text of a config file that `load_yaml` reads back."""
    return to_yaml(to_dict(config))


@lru_cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


def _nested(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Dotted keys to nested ones; a plain value for a section becomes its first field; unknown keys are refused."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        key = SHORT.get(str(name), str(name))
        if key in sections() and isinstance(value, Mapping):
            branch = {f"{key}.{name}": leaf for name, leaf in value.items()}
        elif key in sections():
            branch = {f"{key}.{fields(sections()[key])[0].name}": value}
        else:
            branch = {key: value}
        for written, leaf in branch.items():
            dotted = FORMER.get(written, written)
            if dotted not in keys():
                raise _unknown_setting(dotted, where)
            plain = str(leaf) if isinstance(leaf, Path) else leaf  # paths are text in the tree
            head, _, tail = dotted.partition(".")
            if tail:
                tree.setdefault(head, {})[tail] = plain
            else:
                tree[head] = plain
    return tree


def _unknown_setting(name: str, where: str) -> Refusal:
    """Refusal that names the setting of that meaning, or those with the most similar names."""
    sentence = message("config.refuse.unknown_setting", "unknown setting {name!r}", name=name)
    if where:
        text = "unknown setting {name!r} in {where}"
        sentence = message("config.refuse.unknown_setting_in", text, name=name, where=where)
    close = [SYNONYMS[name]] if name in SYNONYMS else nearest(name, [*keys(), *SHORT_FLAGS])
    if close:
        sentence = message("refuse.hint", "{sentence}; {hint}", sentence=sentence, hint=did_you_mean(close))
    else:
        text = "{sentence}; `danlu train --help all` lists all settings"
        sentence = message("config.refuse.list_of_settings", text, sentence=sentence)
    return Refusal(sentence, name)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    return base | {k: _merge(base[k], v) if isinstance(v, Mapping) else v for k, v in over.items()}
