"""Flags of the command line, made from the settings of `danlu.config`.

Every setting has a flag with its dotted key (`--optim.momentum 0.8`); common ones also have a short flag. Values are
kept as text here: the config parses and checks them, so that flags, YAML and Python give the same errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, NoReturn

from danlu.config import SHORT_FLAGS, Setting, keys
from danlu.refuse import Failure, Refusal, nearest, refusal

# Flags of each setting, the shortest first: `--lr`, `--optim.lr`. Underscores are accepted instead of dashes.
FLAGS = {key: ["--" + key.replace("_", "-")] for key in keys()}
for _name, _key in SHORT_FLAGS.items():
    FLAGS[_key].insert(0, "--" + _name.replace("_", "-"))
SWITCHES = {flag for key, flags in FLAGS.items() if keys()[key].is_switch for flag in flags}
LISTS = {flag for key, flags in FLAGS.items() if keys()[key].is_list for flag in flags}
NO_FLAG = ("data.path", "data.fold")  # a positional argument, and a setting that cross-validation sets itself
TRUTH_WORDS = {"true", "false", "yes", "no", "on", "off", "1", "0"}


class Parser(argparse.ArgumentParser):
    """An argparse parser that knows its own flags and raises a `Refusal` for wrong input."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.flags: list[str] = []
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message} (see `{self.prog} --help`)")

    def flag(self, *names: str, group: Any = None, **options: Any) -> None:
        """Add a flag to the parser, or to one of its groups."""
        (group or self).add_argument(*names, **options)
        self.flags += names

    def settings(self, only: Callable[[str], bool] = lambda key: True) -> None:
        """Add a flag for every setting whose key passes `only`, grouped by section."""
        groups: dict[str, Any] = {}
        for key, setting in keys().items():
            if not only(key) or key in NO_FLAG:
                continue
            head = key.partition(".")[0] if "." in key else "run"
            group = groups.setdefault(head, self.add_argument_group(head))
            text = (setting.text + _default(setting.default)).replace("%", "%%")
            self.flag(
                *FLAGS[key], group=group, dest=key, metavar=_metavar(setting), default=argparse.SUPPRESS, help=text
            )

    def refuse_empty(self, values: dict[str, Any]) -> None:
        """Raise Refusal for a flag or argument whose text is empty: no setting, name or path is."""
        for action in self._actions:
            given = values.get(action.dest)
            if given == "" or (isinstance(given, list) and "" in given):
                name = action.dest if action.dest in FLAGS else (action.option_strings or [action.dest])[-1]
                raise refusal(str(name if action.option_strings else action.metavar), "text that is not empty", "")

    def unknown(self, word: str, argv: Sequence[str]) -> Refusal:
        """Error for a word of `argv` that the parser does not know, with the nearest flag."""
        if not word.startswith("-"):
            place = argv.index(word)
            flag = next((one for one in reversed(argv[:place]) if one.startswith("--")), "")
            if flag in LISTS:
                values = takewhile(lambda one: not one.startswith("-"), argv[argv.index(flag) + 1 :])
                written = ",".join(one.strip(",") for one in values)
                return Refusal(f"{flag} must be one word, its values separated by commas: {flag} {written}", flag)
            return Refusal(f"unexpected argument {word!r} of {self.prog}; see `{self.prog} --help`")
        word = word.partition("=")[0]
        names = {flag.lstrip("-"): flag for flag in self.flags}
        close = [names[name] for name in nearest(word.lstrip("-"), names)]
        return Refusal(f"unknown flag {word!r} of {self.prog}; {hint(close, f'see `{self.prog} --help`')}")


def normalised(argv: Sequence[str]) -> list[str]:
    """Write `--batch_size` as `--batch-size`, and switches without a value as true: `--tta x` as `--tta true x`."""
    out: list[str] = []
    for word, after in zip(argv, [*argv[1:], ""]):
        flag, equals, value = word.partition("=")
        out.append(flag.replace("_", "-") + equals + value if flag.startswith("--") else word)
        if out[-1] in SWITCHES and after.lower() not in TRUTH_WORDS:
            out.append("true")
    return out


def under_typed_flag(
    error: Refusal | Failure, argv: Sequence[str], names: dict[str, str] | None = None
) -> Refusal | Failure:
    """Name the setting of an error by the flag that the user typed or could type: `--lr` for `optim.lr`.

    names: names of settings that differ in this command, by key.
    """
    if isinstance(error, Failure):
        return error
    key = error.thing.lstrip("-").replace("-", "_")
    key = SHORT_FLAGS.get(key, key)
    if key not in FLAGS:
        return error
    typed = {word.partition("=")[0].replace("_", "-") for word in argv if word.startswith("--")}
    name = next((flag for flag in FLAGS[key] if flag in typed), FLAGS[key][0])
    name = (names or {}).get(key, name)
    return Refusal(name + str(error).removeprefix(error.thing), name)


def hint(close: Sequence[str], otherwise: str) -> str:
    """The nearest choices as a question; `otherwise` without any."""
    return f"did you mean {' or '.join(map(repr, close))}?" if close else otherwise


def _default(value: Any) -> str:
    """The default as the user would write it."""
    if value in (None, ""):
        return ""
    if isinstance(value, tuple):
        return f" [{','.join(map(str, value)) or 'none'}]"
    return f" [{str(value).lower() if isinstance(value, bool) else value}]"


def _metavar(setting: Setting) -> str:
    several = "" if not setting.is_list else "A,B,..." if setting.length is None else ",".join("ABCD"[: setting.length])
    if setting.choices:
        return "|".join([*setting.choices, *([several] if several else [])])
    if setting.is_switch:
        return "[true|false]"
    if several:
        return several
    numbers, text = {int, float} & set(setting.members), str in setting.members
    return "N|TEXT" if numbers and text else "TEXT" if text else "N"
