"""A finding of one of danlu's own runs with the facts that remedies use, and the changes of settings they propose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from danlu.config import AugmentConfig, Config, get
from danlu.models.network_table import MODELS

Change = dict[str, Any]  # dotted setting -> value


@dataclass(frozen=True)
class Case:
    """The input of a remedy.

    config: every setting of the run. evidence: of the finding. usual: (setting, changes of other settings) -> danlu's
    default for this data. preset: name of an augmentation preset -> all its settings; None for tables.
    """

    config: Config
    evidence: Mapping[str, Any]
    usual: Callable[..., Any]
    preset: Callable[[str], AugmentConfig] | None = None

    def takes(self, option: str) -> bool:
        """Return whether the network has this field of `ModelConfig` as an option."""
        name = self.config.model.name
        return name in MODELS and option in MODELS[name].options

    def differing(self, change: Change) -> Change:
        """The settings of a change whose values differ from the run's."""
        return {key: value for key, value in change.items() if not _same(get(self.config, key), value)}


def as_flags(change: Mapping[str, Any]) -> str:
    """A change as command-line flags: `--optim.lr 0.002 --model.width 512,256`."""
    return " ".join(f"--{key} {_text(value)}" for key, value in change.items())


def _same(now: Any, then: Any) -> bool:
    return now == then or (isinstance(now, list | tuple) and list(now) == list(then or ()))


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
