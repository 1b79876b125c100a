"""The command line: verbs and flags to the public functions. Nothing is computed here.

Flags are the config tree's own names (`--optim.momentum 0.8`), with short forms for the common ones. The parser is
built from the tree, and values are checked by it, so that flags, YAML and Python refuse the same things in the same
words.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, NoReturn

from danlu.config import SHORT_FLAGS, Setting, keys
from danlu.refuse import Failure, Refusal, blame, nearest

# The flags of each setting, shortest first: `--lr`, `--optim.lr`. Underscores may be written for dashes.
FLAGS = {key: ["--" + key.replace("_", "-")] for key in keys()}
for _name, _key in SHORT_FLAGS.items():
    FLAGS[_key].insert(0, "--" + _name.replace("_", "-"))
BOOLEANS = {flag for key, flags in FLAGS.items() if keys()[key].is_switch for flag in flags}
NOT_INSPECTED = {"model.name", "model.pretrained", "model.sparse", "model.sparse_refine"}  # change no layer
INSPECTED = {"model.name": "MODEL", "data.size": "--input"}  # what inspect calls these settings
TRUTHS = {"true", "false", "yes", "no", "on", "off", "1", "0"}


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one sentence with the nearest flag."""

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{message} (see `{self.prog} --help`)")


def _settings(parser: Parser, only: Callable[[str], bool] = lambda key: True) -> None:
    """A flag for every setting of the tree, grouped by section."""
    groups: dict[str, Any] = {}
    for key, leaf in keys().items():
        if not only(key) or key in ("data.path", "data.fold"):
            continue
        head = key.partition(".")[0] if "." in key else "run"
        group = groups.setdefault(head, parser.add_argument_group(head))
        text = (leaf.text + _default(leaf.default)).replace("%", "%%")
        group.add_argument(*FLAGS[key], dest=key, metavar=_metavar(leaf), default=argparse.SUPPRESS, help=text)


def _default(value: Any) -> str:
    """As the user would write it."""
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


def build_parser() -> Parser:
    parser = Parser(prog="danlu", description="Trains vision models and says why training goes the way it goes.")
    parser.add_argument("--version", action="store_true", help="print the version")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)

    def verb(name: str, arguments: str, text: str) -> Parser:
        usage = f"danlu {name} {arguments} [FLAGS]"
        made = verbs.add_parser(name, help=text, description=text, usage=usage, allow_abbrev=False)
        made.add_argument("--json", action="store_true", help="print one JSON object, all else to standard error")
        return made

    train = verb("train", "[DATA]", "train a network on DATA, evaluate it and write a report")
    train.add_argument("data.path", metavar="DATA", nargs="?", help=keys()["data.path"].text)
    train.add_argument("--config", metavar="FILE", help="start from a YAML file, such as a run's config.yaml")
    train.add_argument("--resume", metavar="RUN", help="go on with an interrupted run")
    _settings(train)

    evaluate = verb("eval", "RUN [DATA]", "evaluate a run on its test split, or on other DATA")
    evaluate.add_argument("run", metavar="RUN", help="a run folder, or detections of any system: a COCO results .json")
    evaluate.add_argument(
        "data", metavar="DATA", nargs="?", help="other labelled data; the run's own test split by default"
    )
    evaluate.add_argument("--part", metavar="train|val|test", help="which split of the run's own data")
    _common(evaluate)

    predict = verb("predict", "RUN PATH...", "say what a run's network sees in files or folders")
    predict.add_argument("run", metavar="RUN")
    predict.add_argument("paths", metavar="PATH", nargs="+")
    predict.add_argument("--out", metavar="DIR", help="write the images there with the prediction drawn on them")
    predict.add_argument("--top", metavar="K", default=None, help="classes named for each image [3]")
    predict.add_argument("--score", metavar="N", default=None, help=keys()["detect.score"].text)
    _common(predict)

    data = verb("data", "DATA", "say what DATA holds: format, classes, counts, statistics, problems")
    data.add_argument("data.path", metavar="DATA")
    data.add_argument("--out", metavar="FILE", help="where the contact sheet goes [a folder for temporary files]")
    data.add_argument("--task", metavar="NAME", default=argparse.SUPPRESS, help=keys()["task"].text)
    data.add_argument("--seed", dest="seed", metavar="N", default=argparse.SUPPRESS)
    _settings(data, only=lambda key: key.startswith("data."))

    doctor = verb("doctor", "RUN|DATA", "say what is wrong with a run, or with data before any training")
    _doctor(doctor)

    inspect = verb("inspect", "MODEL|--compare MODEL MODEL", "say what a network is made of, layer by layer")
    inspect.add_argument("model", metavar="MODEL", nargs="?", help=keys()["model.name"].text)
    inspect.add_argument("--compare", metavar="MODEL", nargs="+", help="networks beside one another, layer by layer")
    inspect.add_argument("--input", metavar="CxHxW", help="shape of one image, or D for rows of D numbers")
    inspect.add_argument("--classes", metavar="K", help="outputs [10]")
    inspect.add_argument("--batch-size", metavar="N", dest="batch_size", help="for the memory of training [32]")
    inspect.add_argument("--optimizer", metavar="NAME", help="for the memory of training [adamw]")
    inspect.add_argument("--plot", metavar="FILE", help="draw the network into a .png or .svg file")
    inspect.add_argument("--time", metavar="true|false", help="measure every layer on this machine [false]")
    _settings(inspect, only=lambda key: key.startswith("model.") and key not in NOT_INSPECTED)

    report = verb("report", "RUN", "make the report page of a run again")
    report.add_argument("run", metavar="RUN")
    report.add_argument("--lang", metavar="en|zh", default=None, help=keys()["doctor.language"].text)
    return parser


def _doctor(parser: Parser) -> None:
    parser.add_argument("target", metavar="RUN|DATA", help="a run folder; or data, as for train")
    parser.add_argument("--model", metavar="NAME", dest="model.name", default=argparse.SUPPRESS)
    parser.add_argument("--task", metavar="NAME", dest="task", default=argparse.SUPPRESS)
    parser.add_argument("--seed", dest="seed", metavar="N", default=argparse.SUPPRESS)
    parser.add_argument("--lang", metavar="en|zh", default=None, help=keys()["doctor.language"].text)
    parser.add_argument("--heal", action="store_true", help="try the remedies in short trainings, keep what helps")
    parser.add_argument("--seeds", metavar="N", default=None, help="heal: trainings of each change [3]")
    parser.add_argument("--budget", metavar="N", default=None, help="heal: seconds for all trainings [600]")
    parser.add_argument("--landscape", action="store_true", help="draw the loss around the run's weights")
    parser.add_argument(
        "--directions", metavar="random|eigenvectors", default=None, help="landscape: along which [random]"
    )
    _settings(parser, only=lambda key: key.startswith("data.") and key != "data.path")


def _common(parser: Parser) -> None:
    parser.add_argument("--weights", metavar="best|last", default=None, help="which weights [best]")
    parser.add_argument("--device", metavar="TEXT", default=None, help=keys()["device"].text)
    parser.add_argument("--tta", default=None, metavar="[true|false]", help=keys()["tta"].text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit codes: 0 done, 1 the work failed, 2 the input is wrong, 128 + n stopped by signal n."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(argv)
    except (Refusal, Failure) as error:
        return _complain(_as_typed(error, argv), error)
    except KeyboardInterrupt:
        print("danlu: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, as in `danlu data X | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # about a file that the user named, or the disk
        return _complain(blame(error), error)
    except Exception as error:
        return _complain(_unforeseen(error), error)


def _as_typed(error: Refusal | Failure, argv: list[str]) -> Refusal | Failure:
    """The refusal of a setting under the flag that the user typed, or else could type: `--lr` for `optim.lr`."""
    if isinstance(error, Failure):
        return error
    key = error.thing.lstrip("-").replace("-", "_")
    key = SHORT_FLAGS.get(key, key)
    if key not in FLAGS:
        return error
    typed = {word.partition("=")[0].replace("_", "-") for word in argv if word.startswith("--")}
    name = next((flag for flag in FLAGS[key] if flag in typed), FLAGS[key][0])
    if argv[0] == "inspect":
        name = INSPECTED.get(key, name)
    return Refusal(name + str(error).removeprefix(error.thing), name)


def _complain(error: Refusal | Failure, cause: Exception | None = None) -> int:
    """Say what is wrong in one line; the exit code. cause: what the error was made from, for DANLU_DEBUG."""
    if os.environ.get("DANLU_DEBUG"):
        traceback.print_exception(cause or error)
    print(f"danlu: {' '.join(str(error).split())}", file=sys.stderr)
    return 2 if isinstance(error, Refusal) else 1


def _unforeseen(error: Exception) -> Failure:
    """What to say of an error that nobody planned for: too little memory, a compiler's, or a mistake of ours."""
    said = " ".join(str(error).split())[:200]
    short_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if short_of_memory or "can't allocate memory" in said:
        return Failure("out of memory; lower --batch-size or --size, or use --data.memory false")
    kind = type(error).__name__
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return Failure(f"torch.compile failed ({kind}: {said}); train without --compile, or see DANLU_DEBUG=1")
    return Failure(f"internal error: {kind}: {said}; please report it; run with DANLU_DEBUG=1 for the traceback")


def _run(argv: list[str]) -> int:
    parser = build_parser()
    known: dict[str, Parser] = parser._subparsers._group_actions[0].choices  # type: ignore
    if argv and argv[0] not in known and argv[0] not in ("-h", "--help", "--version"):
        what = "a verb must come before" if argv[0].startswith("-") else "unknown verb"
        otherwise = f"choose from {', '.join(known)}"
        raise Refusal(f"{what} {argv[0]!r}; {_hint(nearest(argv[0], known), otherwise)}")
    parsed, unknown = parser.parse_known_args(_tidied(argv))
    if unknown:
        raise _unknown(unknown[0], known.get(parsed.verb, parser), argv)
    values = vars(parsed)
    if values.pop("version"):
        from danlu import __version__

        print(__version__)
        return 0
    verb = values.pop("verb")
    if verb is None:
        parser.print_help()
        return 0

    from rich.console import Console

    from danlu.console.commands import COMMANDS  # imports torch: only now, so that help is quick

    as_json = values.pop("json")
    result, code = COMMANDS[verb](values, Console(stderr=as_json))
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    return code


def _tidied(argv: list[str]) -> list[str]:
    """`--batch_size` as `--batch-size`; a switch given alone means true: `--tta digits` becomes `--tta true digits`."""
    out: list[str] = []
    for word, after in zip(argv, [*argv[1:], ""]):
        flag, equals, value = word.partition("=")
        out.append(flag.replace("_", "-") + equals + value if flag.startswith("--") else word)
        if out[-1] in BOOLEANS and after.lower() not in TRUTHS:
            out.append("true")
    return out


def _unknown(word: str, parser: argparse.ArgumentParser, argv: list[str]) -> Refusal:
    if not word.startswith("-"):
        place = argv.index(word)
        flag = next((one for one in reversed(argv[:place]) if one.startswith("--")), "")
        if any(flag in FLAGS[key] and leaf.is_list for key, leaf in keys().items()):
            values = takewhile(lambda one: not one.startswith("-"), argv[argv.index(flag) + 1 :])
            written = ",".join(one.strip(",") for one in values)
            return Refusal(f"{flag} must be one word, its values parted by commas: {flag} {written}", flag)
        return Refusal(f"unexpected argument {word!r} of {parser.prog}; see `{parser.prog} --help`")
    word = word.partition("=")[0]
    flags = {flag.lstrip("-"): flag for action in parser._actions for flag in action.option_strings}
    close = [flags[name] for name in nearest(word.lstrip("-"), flags)]
    return Refusal(f"unknown flag {word!r} of {parser.prog}; {_hint(close, f'see `{parser.prog} --help`')}")


def _hint(close: Sequence[str], otherwise: str) -> str:
    return f"did you mean {' or '.join(map(repr, close))}?" if close else otherwise


if __name__ == "__main__":
    sys.exit(main())
