"""Flags of the command line, made from the settings of `danlu.config`.

Every setting has a flag with its dotted key (`--optim.momentum 0.8`); common ones also have a short flag. Values are
kept as text here: the config parses and checks them, so that flags, YAML and Python give the same errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any, NoReturn

from danlu.config import SHORT_FLAGS, Setting, keys
from danlu.config.settings import FORMER, SYNONYMS
from danlu.console.help_text import FIRST_SETTINGS, HelpAction, HelpFormatter
from danlu.message import Message, message, translated
from danlu.refuse import Failure, Refusal, did_you_mean, nearest, refusal

# Flags of each setting, the shortest first: `--lr`, `--optim.lr`. Underscores are accepted instead of dashes.
FLAGS = {key: ["--" + key.replace("_", "-")] for key in keys()}
for _name, _key in SHORT_FLAGS.items():
    FLAGS[_key].insert(0, "--" + _name.replace("_", "-"))
FORMER_FLAGS = {"--" + old.replace("_", "-"): FLAGS[new][0] for old, new in FORMER.items()}
SWITCHES = {flag for key, flags in FLAGS.items() if keys()[key].is_switch for flag in flags}
NUMBERED = {flag for flag in SWITCHES for key in keys() if flag in FLAGS[key] and int in keys()[key].members}
LISTS = {flag for key, flags in FLAGS.items() if keys()[key].is_list for flag in flags}
DASHED = ("--sort",)  # flags whose values may begin with a dash
NO_FLAG = ("data.path", "data.fold")  # a positional argument, and a setting that cross-validation sets itself
TRUTH_WORDS = {"true", "false", "yes", "no", "on", "off", "1", "0"}


class Parser(argparse.ArgumentParser):
    """An argparse parser with help in the current language, which raises a `Refusal` for wrong input.

    verb: its name, in the ids of its messages. texts: texts of its help by message id.
    """

    def __init__(self, *args: Any, verb: str = "danlu", **kwargs: Any) -> None:
        self.verb = verb
        self.flags: list[str] = []
        self.texts: dict[str, str] = {}
        self._later: set[argparse.Action] = set()  # listed by `--help all` alone
        self._added: list[argparse.Action] = []
        super().__init__(*args, **kwargs, add_help=False, exit_on_error=False, formatter_class=HelpFormatter)
        self._arguments = self.add_argument_group(str(translated("help.arguments", "positional arguments")))
        self._flags = self.add_argument_group(str(translated("help.options", "options")))
        text = translated("help.help", "show this help and exit")
        self._flags.add_argument("-h", "--help", action=HelpAction, help=text)

    def error(self, message: str) -> NoReturn:
        """Raise the Refusal for a message of argparse."""
        before, required, names = message.partition(" are required: ")
        if required and before:
            text = "{names} must be given: {usage}"
            raise self._refused(translated("console.required", text, names=names, usage=self.usage))
        raise self._refused(message)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """As argparse does; a flag without its value is refused with what the value is."""
        try:
            return super().parse_known_args(*args, **kwargs)
        except argparse.ArgumentError as error:
            named = [one for one in self._added if "/".join(one.option_strings) == error.argument_name]
            if not named or named[0].nargs is not None or not error.message.startswith("expected"):
                self.error(str(error))
            flag, what = named[0].option_strings[0], (named[0].help or "").replace("%%", "%")
            text = "{flag} must be followed by a value: {what}"
            raise self._refused(translated("console.value_missing", text, flag=flag, what=what)) from error

    def _refused(self, fault: str) -> Refusal:
        return Refusal(message("console.see_help", "{fault} (see `{prog} --help`)", fault=fault, prog=self.prog))

    def argument(self, name: str, *, help: str | Message = "", **options: Any) -> None:
        """Add a positional argument; `help` is translated."""
        text = self._help(name, help) if help else None
        self._added.append(self._arguments.add_argument(name, help=text, **options))

    def flag(
        self,
        *names: str,
        help: str | Message,
        group: Any = None,
        default_text: str = "",
        later: bool = False,
        **options: Any,
    ) -> None:
        """Add a flag to the parser, or to one of its groups.

        help: description, which is translated; default_text follows it. later: list the flag by `--help all` alone.
        """
        text = self._help(names[0], help) + default_text.replace("%", "%%")
        made = (group or self._flags).add_argument(*names, help=text, **options)
        self._added.append(made)
        self.flags += names
        if later:
            self._later.add(made)

    def _help(self, name: str, text: str | Message) -> str:
        """The help of a flag or argument in the current language, for argparse, to which % is special."""
        if not isinstance(text, Message):
            text = Message(f"help.{self.verb}.{name.lstrip('-').replace('-', '_').replace('.', '_')}", text)
        self.texts[text.id] = text.text
        return str(text).replace("%", "%%")

    def print_help_page(self, everything: bool) -> None:
        """Print the help page: all flags, or those that a beginner needs."""
        hidden = {one: one.help for one in self._later if not everything}
        if hidden:
            text = "`{prog} --help all` lists {count} more flags"
            self.epilog = str(translated("help.more", text, prog=self.prog, count=len(hidden)))
        for one in hidden:
            one.help = argparse.SUPPRESS
        print(self.format_help(), end="")
        self.epilog = None
        for one, text in hidden.items():
            one.help = text

    def settings(self, only: Callable[[str], bool] = lambda key: True) -> None:
        """Add a flag for every setting whose key passes `only`, grouped by section."""
        groups: dict[str, Any] = {}
        for key, setting in keys().items():
            if not only(key) or key in NO_FLAG:
                continue
            head = key.partition(".")[0] if "." in key else "run"
            if head not in groups:
                self.texts[f"help.section.{head}"] = head
                groups[head] = self.add_argument_group(str(Message(f"help.section.{head}", head)))
            self.flag(
                *FLAGS[key],
                group=groups[head],
                dest=key,
                metavar=metavar(setting),
                default=argparse.SUPPRESS,
                help=setting_text(key),
                default_text=_default(setting.default),
                later=key not in FIRST_SETTINGS,
            )

    def refuse_empty(self, values: dict[str, Any]) -> None:
        """Raise Refusal for a flag or argument whose text is empty: no setting, name or path is."""
        for action in self._added:
            given = values.get(action.dest)
            if given == "" or (isinstance(given, list) and "" in given):
                name = action.dest if action.dest in FLAGS else (action.option_strings or [action.dest])[-1]
                raise refusal(
                    str(name if action.option_strings else action.metavar),
                    message("console.wanted.text_empty", "text that is not empty"),
                    "",
                )

    def unknown(self, word: str, argv: Sequence[str], others: Iterable[Parser] = ()) -> Refusal:
        """Error for a word of `argv` that the parser does not know, with the verb that takes it or the nearest flag.

        others: parsers of all verbs.
        """
        if not word.startswith("-"):
            place = argv.index(word)
            flag = next((one for one in reversed(argv[:place]) if one.startswith("--")), "")
            if flag in LISTS:
                values = takewhile(lambda one: not one.startswith("-"), argv[argv.index(flag) + 1 :])
                written = ",".join(one.strip(",") for one in values)
                text = "{flag} must be one word, its values separated by commas: {flag} {written}"
                return Refusal(message("console.one_word", text, flag=flag, written=written), flag)
            before = argv[place - 1] if place else ""
            if before in SWITCHES:
                return refusal(before, _wanted_of_switch(before), word)
            text = "unexpected argument {word!r} of {prog}; see `{prog} --help`"
            return Refusal(message("console.unexpected_argument", text, word=word, prog=self.prog))
        word = word.partition("=")[0]
        takers = [other.prog for other in others if word in other.flags]
        own = [flag for flag in self.flags if flag.endswith(f".{word.lstrip('-')}")]  # --limit for --data.limit
        if takers and not own:
            text = "unknown flag {word!r} of {prog}; it is one of {verbs}"
            facts = {"word": word, "prog": self.prog, "verbs": ", ".join(takers)}
            return Refusal(message("console.flag_of_another_verb", text, **facts))
        names = {flag.lstrip("-"): flag for flag in self.flags}
        usual = SYNONYMS.get(word.lstrip("-").replace("-", "_"), "").replace("_", "-")
        close = [names[usual]] if usual in names else own or [names[name] for name in nearest(word.lstrip("-"), names)]
        see = message("console.see", "see `{prog} --help all`", prog=self.prog)
        text = "unknown flag {word!r} of {prog}; {hint}"
        return Refusal(message("console.unknown_flag", text, word=word, prog=self.prog, hint=hint(close, see)))


def setting_text(key: str) -> Message:
    """Description of a setting."""
    return Message(f"settings.{key}", keys()[key].text)


def normalised(argv: Sequence[str]) -> list[str]:
    """Write flags as argparse takes them: `--batch_size`, former names, and values with a dash (`--sort -val`).

    A switch without a value is true: `--tta x` becomes `--tta true x`.
    """
    out: list[str] = []
    words = iter(zip(argv, [*argv[1:], ""]))
    for word, after in words:
        flag, equals, value = word.partition("=")
        dashed = flag.replace("_", "-")
        out.append(FORMER_FLAGS.get(dashed, dashed) + equals + value if flag.startswith("--") else word)
        if out[-1] in SWITCHES and after.lower() not in TRUTH_WORDS and not (out[-1] in NUMBERED and after.isdecimal()):
            out.append("true")
        elif out[-1] in DASHED and after.startswith("-") and not after.startswith("--"):
            out[-1] += f"={after}"
            next(words)
    return out


def _wanted_of_switch(flag: str) -> Message:
    if flag in NUMBERED:
        return message("console.wanted.number_or_nothing", "an integer, or nothing")
    return message("console.wanted.truth_or_nothing", "true or false, or nothing")


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
    if key not in FLAGS or not str(error).startswith(error.thing):
        return error
    typed = {word.partition("=")[0].replace("_", "-") for word in argv if word.startswith("--")}
    name = next((flag for flag in FLAGS[key] if flag in typed), FLAGS[key][0])
    name = (names or {}).get(key, name)
    return Refusal(name + str(error).removeprefix(error.thing), name)


def hint(close: Sequence[str], otherwise: Message) -> Message:
    """The nearest choices as a question; `otherwise` without any."""
    return did_you_mean(close) if close else otherwise


def _default(value: Any) -> str:
    """The default as the user would write it."""
    if value in (None, ""):
        return ""
    if isinstance(value, tuple):
        return f" [{','.join(map(str, value)) or 'none'}]"
    return f" [{str(value).lower() if isinstance(value, bool) else value}]"


def metavar(setting: Setting) -> str:
    """Placeholder of a setting's value in --help: its choices, or N or TEXT."""
    several = "" if not setting.is_list else "A,B,..." if setting.length is None else ",".join("ABCD"[: setting.length])
    if setting.choices:
        other = several or ("N" if int in setting.members else "")
        return "|".join([*setting.choices, *([other] if other else [])])
    if setting.is_switch:
        return "[N]" if int in setting.members else "[true|false]"
    if several:
        return several
    numbers, text = {int, float} & set(setting.members), str in setting.members
    return "N|TEXT" if numbers and text else "TEXT" if text else "N"
