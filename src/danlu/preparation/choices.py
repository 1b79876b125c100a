"""Values chosen for open settings, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from danlu.config import Config, get, with_values
from danlu.message import Message


@dataclass(frozen=True)
class Choice:
    """A value that danlu chose for a setting, and why."""

    key: str
    value: Any
    reason: Message


class Chooser:
    """Collects values for the open settings of a config one by one; later choices may read earlier ones."""

    def __init__(self, config: Config) -> None:
        self.config = config  # as the user wrote it
        self.choices: list[Choice] = []
        self._values: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        """The value chosen for a setting, or else the user's."""
        return self._values[key] if key in self._values else get(self.config, key)

    def pick(self, key: str, value: Any, reason: Message) -> None:
        """Choose a value if the setting is open."""
        if self[key] is None:
            self.set(key, value, reason)

    def set(self, key: str, value: Any, reason: Message) -> None:
        """Choose a value in any case."""
        self._values[key] = value
        self.choices.append(Choice(key, value, reason))

    def keep(self, key: str, value: Any) -> None:
        """Set a value unconditionally; the caller describes it."""
        self._values[key] = value

    def chosen(self) -> Config:
        """The config with all chosen values. Raises Refusal for a value that a setting cannot have."""
        return with_values(self.config, self._values)
