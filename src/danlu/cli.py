"""The command line `danlu VERB ...`. Torch is imported only when a verb runs, so that --help is fast."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from danlu.console.errors import print_error, unexpected
from danlu.console.flags import normalised, under_typed_flag
from danlu.console.language import language_of, split_language
from danlu.console.missing import refuse_missing
from danlu.console.parser import ALIASES, VERBS, build_parsers, find_verb
from danlu.message import UNPRINTABLE, language, speaking, translated
from danlu.python_calls import on_command_line
from danlu.refuse import Failure, Refusal, blame

PARSER_FLAGS = ("-h", "--help", "--version")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Return the exit code: 0 done, 1 failed, 2 wrong input, 128 + n stopped by signal n."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        argv, flag = split_language(argv)
        chosen = flag or language_of()
    except Refusal as error:
        with speaking(_usual_language()):
            return print_error(error, error)
    with speaking(chosen or "en"), on_command_line():
        return _guarded(argv, flag, chosen)


def _usual_language() -> str:
    """Language for the refusal of an unknown one: that of DANLU_LANG or the locale, if it is known."""
    try:
        return language_of() or "en"
    except Refusal:
        return "en"


def _guarded(argv: list[str], flag: str | None, chosen: str | None) -> int:
    """Run one command and print its error.

    flag: language that `--lang` gave. chosen: language of the output, where the user or the terminal has one.
    """
    try:
        with _terminable():
            return _run(argv, flag, chosen)
    except (Refusal, Failure) as error:
        verb = VERBS.get(ALIASES.get(argv[0], argv[0])) if argv else None
        return print_error(under_typed_flag(error, argv, verb.setting_names if verb else None), error)
    except KeyboardInterrupt as stopped:
        number = signal.SIGTERM if isinstance(stopped, _Terminated) else signal.SIGINT
        terminated = number == signal.SIGTERM
        text = (
            translated("console.terminated", "terminated")
            if terminated
            else translated("console.interrupted", "interrupted")
        )
        print(f"danlu: {text}", file=sys.stderr)
        return 128 + number
    except BrokenPipeError:  # the reader closed the pipe, as in `danlu describe X | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a missing or unreadable file, a full disk
        return print_error(blame(error), error)
    except Exception as error:
        return print_error(unexpected(error, argv), error)


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived while no training was there to save its state."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise `_Terminated` at SIGTERM, so that a command can clean up."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers in the main thread only
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise _Terminated

    old = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def _run(argv: list[str], flag: str | None, chosen: str | None) -> int:
    parser, parsers = build_parsers()
    if argv and argv[0] not in PARSER_FLAGS:
        find_verb(argv[0])
    if argv[:1] == ["watch"]:  # the words after the script are the script's own
        from danlu.console.watch import watch_command

        return watch_command(argv[1:], parsers["watch"], language() if chosen else "en")
    parsed, unknown = parser.parse_known_args(normalised(argv))
    values = vars(parsed)
    typed, version = values.pop("verb"), values.pop("version")
    verb = find_verb(typed) if typed else None
    if unknown:
        raise (parsers[verb] if verb else parser).unknown(unknown[0], argv, parsers.values())
    if version:
        from danlu import __version__

        print(__version__)
        return 0
    if verb is None:
        parser.print_help_page(everything=True)
        return 0

    parsers[verb].refuse_empty(values)
    values.pop("lang", None)
    if argument := VERBS[verb].language:
        # A config or a resumed run keeps its own language, unless --lang is given.
        continued = values.get("config") or values.get("resume")
        values |= {argument: code} if (code := flag if continued else chosen) or argument == "lang" else {}

    refuse_missing(values)

    from danlu.console.quick_commands import QUICK_COMMANDS
    from danlu.printing.console import TextConsole
    from danlu.printing.edited import print_edited
    from danlu.progress.lines import StageLines
    from danlu.progress.stages import showing

    as_json = values.pop("json")
    console = TextConsole(stderr=as_json)
    with showing(StageLines(console)):
        command = QUICK_COMMANDS.get(verb) or _command(verb)
        print_edited(console, values)
        result, code = command(values, console)
    if as_json:
        print(_json_line(result, sys.stdout.encoding))
    return code


def _command(verb: str) -> Any:
    """The command of a verb that needs torch, whose import can take many seconds and is announced before it begins."""
    from danlu.progress.stages import stage

    known = "danlu.console.commands" in sys.modules
    with nullcontext() if known else stage(translated("stage.start", "starting danlu"), delay=0):
        from danlu.console.commands import COMMANDS
    return COMMANDS[verb]


def _json_line(result: object, encoding: str | None) -> str:
    """JSON in ASCII where the stream is not UTF-8; control sequences of terminals are always escaped."""
    unicode = (encoding or "").lower().replace("-", "").startswith("utf")
    return UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(result, ensure_ascii=not unicode))


if __name__ == "__main__":
    sys.exit(main())
