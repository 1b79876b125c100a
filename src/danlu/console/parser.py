"""The parser of the command line: one `Verb` per command, with its aliases, arguments and flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

from danlu.config import keys
from danlu.console.flags import Parser, hint, metavar, setting_text
from danlu.console.language import FLAG
from danlu.message import message, translated
from danlu.refuse import Refusal, nearest
from danlu.run.names import EVALUATION_PAGE

EXPORT_NAMES = ("onnx", "pt2", "openvino")  # of `deployment.file_formats`, whose import takes time
TARGET_NAMES = ("coco", "yolo", "voc", "folder")  # of `conversion.writers`, likewise
INSPECT_NAMES = {"model.name": "MODEL", "data.size": "--input"}  # names of these settings in `danlu inspect`
PRETRAIN_FLAGS = {"--method": "pretrain.method", "--tokenizer": "pretrain.tokenizer"}
NOT_INSPECTED = (  # these change no layer
    "model.name", "model.pretrained", "model.sparse", "model.sparse_both", "model.sparse_refine",
)  # fmt: skip
OWN_OBJECTS = {
    "model": "network of your own, as in the training",
    "transform": "transform of your own, as in the training",
    "loss": "loss of your own, as in the training",
    "metrics": "metrics of your own, as in the training",
}

LANGUAGE_HELP = message(
    "help.lang", "language of the output: en | zh; by default DANLU_LANG or the locale of the terminal"
)
JSON_HELP = message("help.json", "print one JSON object; everything else goes to standard error")


@dataclass(frozen=True)
class Verb:
    """A command.

    arguments: as shown in the usage line. text: one line for --help. add: adds the arguments and flags to a parser.
    alias: second name. setting_names: names of settings that differ in this command, by key. language: argument that
    takes the language; without it the language is that of the output alone.
    """

    arguments: str
    text: str
    add: Callable[[Parser], None]
    alias: str | None = None
    setting_names: dict[str, str] = field(default_factory=dict)
    language: str = ""


def _train(parser: Parser) -> None:
    parser.argument("data.path", metavar="DATA", nargs="?", help=setting_text("data.path"))
    parser.flag("--config", metavar="FILE", help="start from a YAML file, such as a run's config.yaml")
    parser.flag("--resume", metavar="RUN", help="continue an interrupted run")
    parser.settings()


def _pretrain(parser: Parser) -> None:
    parser.argument(
        "data.path", metavar="DATA", nargs="?", help="images; class labels are used only to measure progress"
    )
    for name, key in PRETRAIN_FLAGS.items():
        parser.flag(name, metavar=metavar(keys()[key]), dest=key, default=argparse.SUPPRESS, help=setting_text(key))
    parser.flag("--config", metavar="FILE", help="start from a YAML file, such as a run's config.yaml")
    parser.flag("--resume", metavar="RUN", help="continue an interrupted pretraining")
    parser.settings(only=lambda key: key != "task")


def _tune(parser: Parser) -> None:
    parser.argument("data.path", metavar="DATA", nargs="?", help=setting_text("data.path"))
    parser.flag("--search", metavar="A,B,...", default=None, help="settings to search [lr,weight_decay,augment]")
    parser.flag("--space", metavar="FILE", default=None, help="YAML file with ranges of your own, instead of --search")
    parser.flag("--trials", metavar="N", default=None, help="number of trials [30, without a budget]")
    parser.flag("--budget", metavar="MINUTES", default=None, help="max minutes for the whole search [none]")
    methods = "tpe | random | grid | sobol | cmaes | gp [sobol below 15 trials, else tpe]"
    parser.flag("--method", metavar="NAME", default=None, help=methods)
    parser.flag("--prune", metavar="NAME", default=None, help="stop bad trials early: median | halving | none [median]")
    parser.flag("--top", metavar="N", default=None, help="number of best trials to train again [3]")
    parser.flag("--seeds", metavar="N", default=None, help="number of seeds for each of them [3]")
    parser.flag("--config", metavar="FILE", default=None, help="start from a YAML file of settings")
    parser.flag("--resume", metavar="FOLDER", default=None, help="continue a search, or join it from another process")
    parser.settings()


def _evaluate(parser: Parser) -> None:
    parser.argument("run", metavar="RUN", help="a run folder, or detections of any system: a COCO results .json")
    usual = "the run's own test set, without one its validation set"
    parser.argument("data", metavar="DATA", nargs="?", help=f"other labelled data [{usual}]")
    _own_objects(parser, "loss", "metrics")
    part = "split of the run's own data to evaluate on [test, or val without a test set]"
    parser.flag("--part", metavar="train|val|test", help=part)
    parser.flag("--out", metavar="FILE", default=None, help=f"HTML page to write [RUN/{EVALUATION_PAGE}]")
    _trained_network(parser)


def _predict(parser: Parser) -> None:
    parser.argument("run", metavar="RUN")
    parser.argument("paths", metavar="PATH", nargs="+")
    parser.flag("--out", metavar="DIR", help="folder for copies of the images with the prediction drawn on them")
    parser.flag("--csv", metavar="FILE", default=None, help="table of all predictions to write")
    parser.flag("--top", metavar="K", default=None, help="number of top-scoring classes to list per image [3]")
    parser.flag("--score", metavar="N", default=None, help=setting_text("detect.score"))
    parser.flag("--camera", metavar="FX,FY,CX,CY", default=None, help=setting_text("detect.camera"))
    _trained_network(parser)


def _describe(parser: Parser) -> None:
    parser.argument("data.path", metavar="DATA")
    parser.flag("--out", metavar="FILE", help="image file for the contact sheet [NAME-contact-sheet.png]")
    parser.flag("--task", metavar="NAME", default=argparse.SUPPRESS, help=setting_text("task"))
    parser.flag("--seed", dest="seed", metavar="N", default=argparse.SUPPRESS, help=setting_text("seed"))
    parser.settings(only=lambda key: key.startswith("data."))


def _convert(parser: Parser) -> None:
    parser.argument("data.path", metavar="DATA")
    parser.flag("--to", metavar="NAME", required=True, help="format to write: " + ", ".join(TARGET_NAMES))
    parser.flag("--out", metavar="DIR", default=None, help="new folder [DATA-NAME in the current folder]")
    parser.flag("--link", action="store_true", help="make hard links to the images instead of copies")
    parser.flag("--task", metavar="NAME", default=argparse.SUPPRESS, help=setting_text("task"))
    parser.settings(
        only=lambda key: key in ("data.format", "data.on_bad", "data.follow_links", "data.target", "data.workers")
    )


def _render(parser: Parser) -> None:
    parser.argument("data", metavar="DATA", help="a folder in BOP's layout, or meshes (.ply, .obj) and camera.json")
    parser.flag("--out", metavar="DIR", default=None, help="new folder [DATA-rendered in the current folder]")
    parser.flag("--images", metavar="N", default=None, help="number of images [2000]")
    parser.flag("--size", metavar="WxH", default=None, help="size of the images in pixels [of the camera]")
    parser.flag("--backgrounds", metavar="DIR", default=None, help="photographs for the backgrounds [drawn ones]")
    nearness = "range of depths in metres [as in DATA's training images, or such that objects have a usual size]"
    parser.flag("--depth", metavar="NEAR,FAR", default=None, help=nearness)
    standing = "any rotation, or objects that stand on a table, z axis up, seen from above [any]"
    parser.flag("--poses", metavar="any|table", default=None, help=standing)
    colours = "colours of meshes without any, as 1=brown,9=#f0c020 [other random ones in every image]"
    parser.flag("--colours", metavar="N=COLOUR,...", default=None, help=colours)
    parser.flag("--seed", metavar="N", default=None, help="seed of the random numbers [0]")


def _export(parser: Parser) -> None:
    parser.argument("run", metavar="RUN")
    parser.flag("--format", metavar="|".join(EXPORT_NAMES), default=None, help="format of the file [onnx]")
    parser.flag("--out", metavar="FILE", default=None, help="file to write [RUN/export/model.onnx]")
    parser.flag("--int8", action="store_true", help="8 bits: onnx, all layers; pt2, weights of dense layers")
    parser.flag("--batch", metavar="N|any", default=None, help="images per call of the file [any]")
    _own_objects(parser, "model", "transform")
    parser.flag("--weights", metavar="best|last", default=None, help="weights to load [best]")


def _share(parser: Parser) -> None:
    parser.argument("run", metavar="RUN")
    parser.flag("--out", metavar="FILE", default=None, help="zip file to write [NAME.zip in the current folder]")
    parser.flag("--use", metavar="TEXT", default=None, help="intended use of the network, for the model card")
    _own_objects(parser, "model", "transform")
    parser.flag("--weights", metavar="best|last", default=None, help="weights to share [best]")


def _serve(parser: Parser) -> None:
    parser.argument("run", metavar="RUN")
    parser.flag("--port", metavar="N", default=None, help="port to listen on, 0 for a free one [8000]")
    parser.flag("--host", metavar="ADDRESS", default=None, help="address to listen on [127.0.0.1]")
    _own_objects(parser, "model", "transform")
    parser.flag("--weights", metavar="best|last", default=None, help="weights to load [best]")
    parser.flag("--device", metavar="TEXT", default=None, help=setting_text("device"))


def _diagnose(parser: Parser) -> None:
    about = "a run folder; the log of another tool, or a folder that holds one; or data, as for train"
    parser.argument("target", metavar="RUN|LOG|DATA", help=about)
    parser.flag(
        "--model", metavar="NAME", dest="model.name", default=argparse.SUPPRESS, help=setting_text("model.name")
    )
    parser.flag("--task", metavar="NAME", dest="task", default=argparse.SUPPRESS, help=setting_text("task"))
    parser.flag("--seed", dest="seed", metavar="N", default=argparse.SUPPRESS, help=setting_text("seed"))
    parser.flag("--out", metavar="FILE", default=None, help="log: HTML page to write [doctor_NAME.html]")
    parser.flag("--heal", action="store_true", help="test the fixes in short trainings and keep those that help")
    parser.flag("--seeds", metavar="N", default=None, help="heal: number of trainings for each change [3]")
    parser.flag("--budget", metavar="N", default=None, help="heal: max seconds for all trainings [600]")
    parser.flag("--landscape", action="store_true", help="draw the loss around the run's weights")
    parser.flag("--directions", metavar="random|eigenvectors", default=None, help="landscape: directions [random]")
    parser.settings(only=lambda key: key.startswith("data.") or key in ("loss.name", "metrics"))


def _inspect(parser: Parser) -> None:
    parser.argument("model", metavar="MODEL", nargs="?", help=setting_text("model.name"))
    parser.flag("--compare", metavar="MODEL", nargs="+", help="compare networks layer by layer")
    parser.flag("--input", metavar="CxHxW", help="shape of one image, or D for rows of D numbers")
    parser.flag("--classes", metavar="K", help="number of outputs [10]")
    parser.flag("--batch-size", metavar="N", dest="batch_size", help="batch size for the training memory [32]")
    parser.flag("--optimizer", metavar="NAME", help="update rule for the training memory [adamw]")
    parser.flag("--plot", metavar="FILE", help="draw the network into a .png or .svg file")
    parser.flag(
        "--effective", metavar="FILE.png", help="measure effective receptive fields from gradients, and draw them"
    )
    parser.flag("--time", metavar="true|false", help="time every layer on this machine [false]")
    parser.settings(
        only=lambda key: key == "detect.backbone" or (key.startswith("model.") and key not in NOT_INSPECTED)
    )


def _runs(parser: Parser) -> None:
    parser.argument("folder", metavar="FOLDER", nargs="?", default="runs", help="folder of runs [runs]")
    parser.flag("--sort", metavar="COLUMN", default=None, help="column to sort by; -COLUMN for the largest first")
    parser.flag("--where", metavar="A=B,C<D", default=None, help="only runs with these columns or settings")
    parser.flag("--limit", metavar="N", default=None, help="max number of rows")


def _live(parser: Parser) -> None:
    parser.argument("folder", metavar="RUN|FOLDER", nargs="?", default="runs", help="a run, or a folder of runs [runs]")
    parser.flag("--port", metavar="N", default=None, help="port to listen on, 0 for a free one [8765]")
    parser.flag("--host", metavar="ADDRESS", default=None, help="address to listen on [127.0.0.1]")


def _compare(parser: Parser) -> None:
    parser.argument("runs", metavar="RUN", nargs="+")
    parser.flag("--out", metavar="FILE", default=None, help="HTML page to write [compare_A_B.html]")
    parser.flag("--images", metavar="N", default=None, help="max number of test images with all predictions [12]")
    _own_objects(parser, "model", "transform")


def _report(parser: Parser) -> None:
    parser.argument("run", metavar="RUN")
    parser.flag(
        "--features", action="store_true", help="add samples by the features of a layer: PCA, t-SNE, neighbours"
    )
    parser.flag(
        "--layer", metavar="NAME", default=None, help="features: layer of the network [the last before the outputs]"
    )
    parser.flag("--part", metavar="train|val|test", default=None, help="features: split of the run's own data [val]")
    parser.flag("--samples", metavar="N", default=None, help="features: number of samples, 10 to 3000 [1000]")
    _own_objects(parser, *OWN_OBJECTS, of="features: ")
    parser.flag("--weights", metavar="best|last", default=None, help="features: weights to load [best]")


def _watch(parser: Parser) -> None:
    parser.flag("--out", metavar="DIR", help="folder for doctor.html and findings.json [doctor_SCRIPT]")
    spent = "max fraction of the first 30 s for the doctor, later a third of it [0.03]"
    parser.flag("--budget", metavar="N", default=None, help=spent)


def _own_objects(parser: Parser, *kinds: str, of: str = "") -> None:
    """Flags for objects of the user that a run cannot save. of: what they are for, before each text."""
    for kind in kinds:
        parser.flag(f"--{kind}", metavar="FILE.py:NAME", default=None, help=of + OWN_OBJECTS[kind])


def _trained_network(parser: Parser) -> None:
    _own_objects(parser, "model", "transform")
    parser.flag("--weights", metavar="best|last", default=None, help="weights to load [best]")
    parser.flag("--device", metavar="TEXT", default=None, help=setting_text("device"))
    parser.flag("--tta", default=None, metavar="[true|false]", help=setting_text("tta"))


VERBS = {
    "train": Verb(
        "[DATA]", "train a network on DATA, evaluate it and write a report", _train, language="doctor.language"
    ),
    "pretrain": Verb(
        "[DATA]",
        "train the features of a network on images without labels, for `danlu train --init`",
        _pretrain,
        setting_names={key: name for name, key in PRETRAIN_FLAGS.items()},
        language="doctor.language",
    ),
    "tune": Verb(
        "[DATA]",
        "search for settings by many trainings and train the best ones again",
        _tune,
        language="doctor.language",
    ),
    "evaluate": Verb("RUN [DATA]", "evaluate a run on its test set, or on other DATA", _evaluate, alias="eval"),
    "predict": Verb("RUN PATH...", "predict images, videos or tables with a run's network", _predict),
    "describe": Verb("DATA", "describe DATA: format, classes, counts, statistics, problems", _describe, alias="data"),
    "convert": Verb("DATA --to NAME", "write DATA in another format: coco, yolo, voc or folder", _convert),
    "render": Verb("DATA", "render training images, with poses and masks, of DATA's meshes", _render),
    "export": Verb("RUN", "write a run's network as one verified file for other programs", _export),
    "share": Verb(
        "RUN",
        "write a run and a model card to one zip file, which every verb accepts",
        _share,
    ),
    "serve": Verb("RUN", "answer HTTP requests with the predictions of a run, with a page to drop images on", _serve),
    "diagnose": Verb(
        "RUN|LOG|DATA",
        "report what is wrong with a run, the log of another tool, or data before training",
        _diagnose,
        alias="doctor",
        language="lang",
    ),
    "inspect": Verb(
        "MODEL|--compare MODEL MODEL",
        "list the layers of a network with shapes, parameters and costs",
        _inspect,
        setting_names=INSPECT_NAMES,
    ),
    "formats": Verb("", "list the data formats that are read", lambda parser: None),
    "networks": Verb("", "list the networks and detectors for --model", lambda parser: None),
    "watch": Verb(
        "[FLAGS] SCRIPT|-m MODULE|torchrun ... [ARGS...]",
        "run any PyTorch program unchanged under the doctor",
        _watch,
        language="lang",
    ),
    "report": Verb("RUN", "write the report page of a run again", _report, language="lang"),
    "runs": Verb("[FOLDER]", "list all runs below a folder", _runs),
    "live": Verb(
        "[RUN|FOLDER]",
        "serve a page that follows a run, or all runs of a folder, while they train",
        _live,
        language="lang",
    ),
    "compare": Verb(
        "RUN RUN...", "compare settings, metrics, curves and predictions of runs in one page", _compare, language="lang"
    ),
}
ALIASES = {verb.alias: name for name, verb in VERBS.items() if verb.alias}


def find_verb(word: str) -> str:
    """Name of the verb for a name or alias that the user typed. Raises Refusal with the nearest verb."""
    name = ALIASES.get(word, word)
    if name not in VERBS:
        otherwise = message("console.choose_verb", "choose from {verbs}", verbs=list(VERBS))
        flags = ["--version"] if word.startswith("-") else ["--help", "--version"]
        close = hint(nearest(word, [*VERBS, *ALIASES, *flags]), otherwise)
        if word.startswith("-"):
            raise Refusal(
                message("console.verb_first", "a verb must come before {word!r}; {hint}", word=word, hint=close)
            )
        if takers := [parser.prog for parser in build_parsers()[1].values() if f"--{word}" in parser.flags]:
            text = "unknown verb {word!r}; --{word} is a flag of {verbs}"
            raise Refusal(message("console.verb_is_flag", text, word=word, verbs=", ".join(takers)))
        raise Refusal(message("console.unknown_verb", "unknown verb {word!r}; {hint}", word=word, hint=close))
    return name


def build_parsers() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the command line, and those of the verbs by their names, in the current language."""
    about = translated("help.about", "Train vision models and find out what is wrong with a training.")
    usage = "danlu " + translated("help.usage_of_danlu", "[--lang en|zh] VERB ...")
    parser = Parser(prog="danlu", description=about, usage=usage)
    parser.flag("--version", action="store_true", help=message("help.version", "print the version"))
    parser.flag(FLAG, metavar="en|zh", help=LANGUAGE_HELP)
    subparsers = parser.add_subparsers(
        prog="danlu",
        dest="verb",
        metavar=translated("help.command", "VERB"),
        parser_class=Parser,
        help=translated("help.verbs", "what to do"),
    )
    parsers: dict[str, Parser] = {}
    for name, verb in VERBS.items():
        text = str(message(f"help.verb.{name}", verb.text))
        alias = translated("help.alias", " (alias: danlu {alias})", alias=verb.alias) if verb.alias else ""
        flags = "" if "[FLAGS]" in verb.arguments else translated("help.flags", " [FLAGS]")
        made = subparsers.add_parser(
            name,
            verb=name,
            help=text.replace("%", "%%"),
            description=text + alias,
            usage=" ".join(filter(None, ("danlu", name, verb.arguments))) + flags,
            allow_abbrev=False,
            aliases=[verb.alias] if verb.alias else [],
        )
        if name != "watch":  # its standard output is that of the program
            made.flag(
                "--json",
                action="store_true",
                help=JSON_HELP,
            )
        if verb.language != "doctor.language":
            made.flag(FLAG, metavar="en|zh", dest="lang", default=None, help=LANGUAGE_HELP)
        verb.add(made)
        parsers[name] = made
    return parser, parsers
