"""Shared style of the figures, and the command line of the scripts: `python experiments/NAME.py [--quick] [--lang zh]`."""

from __future__ import annotations

import argparse
import inspect
import io
import logging
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from danlu.console.errors import print_error
from danlu.console.help_text import HelpFormatter
from danlu.console.language import LANGUAGES, language_of, split_language
from danlu.message import Message, language, message, speaking, translated
from danlu.refuse import NOTHING, Refusal, refusal

try:
    import matplotlib
except ImportError:
    with speaking(split_language(sys.argv[1:])[1] or language_of() or "en"):
        text = "the experiments draw with matplotlib: pip install matplotlib"
        print(translated("experiments.matplotlib", text), file=sys.stderr)
    sys.exit(2)

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # the backend must be selected first
from matplotlib import font_manager
from matplotlib.text import Text

IMAGES = Path(__file__).parent / "images"
CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "SimHei", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Noto Serif CJK SC", "Noto Serif CJK JP",
    "Arial Unicode MS",
)  # fmt: skip
CHINESE_FILES = ("CJK", "SourceHan", "PingFang", "Hiragino", "msyh", "simhei", "wqy", "Arial Unicode")  # in their names
NUMBER_FONT = "DejaVu Sans"
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
INK, GREY, PALE = "#22262b", "#868c95", "#dfe3e8"
FLAGS = {  # parameter of an experiment -> its description
    "lr": message("experiments.flag.lr", "learning rate"),
    "epochs": message("experiments.flag.epochs", "passes over the training samples"),
    "steps": message("experiments.flag.steps", "steps of the optimiser"),
    "seeds": message("experiments.flag.seeds", "number of trainings, each with its own seed"),
    "depth": message("experiments.flag.depth", "number of layers"),
    "p": message("experiments.flag.p", "probability that dropout sets a value to 0"),
}


class Images:
    """Place of the images, and those that this run has saved.

    The place is the current folder where a setting or the language differs from that of the images in README.md.
    """

    folder = IMAGES
    saved: ClassVar[list[Path]] = []
    translated = False  # whether the text in them is in the current language instead of English


BLUE, ORANGE, GREEN, RED, PURPLE = "#2463a8", "#d9651c", "#2a8a5c", "#bf3434", "#7a4fa0"

plt.rcParams.update(
    {
        "figure.dpi": 150,
        "figure.facecolor": "white",
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": PALE,
        "grid.linewidth": 0.7,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "lines.linewidth": 2,
        "lines.markersize": 5,
        "lines.solid_capstyle": "round",
    }
)


def panels(columns: int, rows: int = 1, *, width: float = 9.6, height: float = 3.9, **settings: Any):
    """Create a figure and its axes with constrained layout."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **settings)


def note(axis: Any, text: str, x: float, y: float, colour: str = INK, **settings: Any) -> None:
    """Write a label at (x, y) in data units, on a translucent white background."""
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.2}
    axis.text(x, y, text, color=colour, bbox=ground, **({"fontsize": 9} | settings))


def save(figure: Any, name: str, quick: bool) -> None:
    """Save NAME.png in 128 colours, which halves its size; a quick run draws it without saving."""
    if Images.translated:
        translate(figure)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    plt.close(figure)
    if quick:
        return
    Images.folder.mkdir(exist_ok=True)
    path = Images.folder / f"{name}.png"
    Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    Images.saved.append(path)


def translate(figure: Any) -> None:
    """Replace the texts of a figure by those of the current language; texts without a translation stay as they are."""
    for axis in figure.axes:
        for ticks in (axis.xaxis, axis.yaxis):
            form = ticks.get_major_formatter()
            if getattr(form, "seq", None):  # names instead of numbers
                ticks.set_ticklabels([wording(str(name)) for name in form.seq])
            else:
                ticks.set_tick_params(which="both", labelfontfamily=NUMBER_FONT)  # has the minus sign of formulas
    for text in figure.findobj(Text):
        text.set_text(wording(text.get_text()))


def wording(text: str) -> str:
    """The text in the current language.

    Its numbers are the fields n0, n1, ... of the message: "batch 8: 12 updates" is "batch {n0}: {n1} updates".
    """
    core = text.strip()
    if not any(letter.isalpha() for letter in core):
        return text
    fields = {f"n{k}": number for k, number in enumerate(NUMBER.findall(core))}
    names = iter(fields)
    template = NUMBER.sub(lambda _: f"{{{next(names)}}}", core.replace("{", "{{").replace("}", "}}"))
    return text.replace(core, translated(f"experiments.label.{template}", template, **fields))


def choose_font() -> None:
    """Translate the texts of the figures where a font has the characters; else print that they stay English."""
    font = _known_font()
    if font is None:  # matplotlib keeps its list of fonts, also when one is installed later
        for path in font_manager.findSystemFonts():
            if any(part in Path(path).name for part in CHINESE_FILES):
                font_manager.fontManager.addfont(path)
        font = _known_font()
    Images.translated = font is not None
    if font is None:
        text = "no font with Chinese characters was found (such as Noto Sans CJK): text in the image stays English"
        print(translated("experiments.no_font", text))
    else:
        plt.rcParams["font.family"] = [font, NUMBER_FONT]  # the first one also beside formulas
        logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # the font has one weight only


def _known_font() -> str | None:
    known = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in CHINESE_FONTS if name in known), None)


def contours(axis: Any, loss: Callable[[np.ndarray, np.ndarray], np.ndarray], levels: Any) -> None:
    """Draw pale contour lines of loss(x, y) within the current axis limits."""
    x, y = np.meshgrid(np.linspace(*axis.get_xlim(), 200), np.linspace(*axis.get_ylim(), 200))
    axis.contour(x, y, loss(x, y), levels, colors=GREY, linewidths=0.6, alpha=0.55)
    axis.grid(False)


def start(run: Callable[..., dict[str, Any]], shows: Message) -> None:
    """Run a script from the command line; print its figures, the place of its image and what the image shows.

    run: with the parameter `quick`, and others with defaults, each of which becomes a flag.
    """
    chosen = "en"
    try:
        words, code = split_language(sys.argv[1:])
        chosen = code or language_of() or chosen
        with speaking(chosen):
            settings = _settings(_parser(run, shows), words)
    except Refusal as error:
        with speaking(chosen):
            sys.exit(print_error(error, error))
    with speaking(chosen):
        defaults = {name: one.default for name, one in inspect.signature(run).parameters.items()}
        if any(settings[name] != default for name, default in defaults.items() if name != "quick"):
            Images.folder = Path.cwd()
        if language() != "en":
            Images.folder = Path.cwd()
            choose_font()
        began = time.perf_counter()
        figures = run(**settings)
        for name, value in figures.items():
            print(f"{figure_name(name)}: {_plain(value)}")
        for path in Images.saved:
            print(translated("experiments.image", "image: {path}", path=path))
        print(translated("experiments.shows", "it shows: {text}", text=shows))
        print(translated("experiments.seconds", "({seconds:.0f} s)", seconds=time.perf_counter() - began))


def _parser(run: Callable[..., dict[str, Any]], shows: Message) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(shows), add_help=False, formatter_class=HelpFormatter)
    parser._optionals.title = translated("help.options", "options")
    text = "show this help and exit"
    parser.add_argument("-h", "--help", action="help", help=translated("help.help", text))
    text = "a small version in a second or two, without saving an image"
    parser.add_argument("--quick", action="store_true", help=translated("experiments.flag.quick", text))
    text = "language of the output, by default that of DANLU_LANG or of the terminal"
    parser.add_argument(
        "--lang", choices=LANGUAGES, default=argparse.SUPPRESS, help=translated("experiments.flag.lang", text)
    )
    for name, one in inspect.signature(run).parameters.items():
        if name != "quick":
            text = f"{FLAGS[name]} [{one.default:g}]"
            parser.add_argument(f"--{name}", nargs="?", const="", default=one.default, metavar="N", help=text)
    return parser


def _settings(parser: argparse.ArgumentParser, words: list[str]) -> dict[str, Any]:
    """Values of the flags. Raises Refusal for an unknown flag, and for a value that is no number."""
    found, unknown = parser.parse_known_args(words)
    settings = vars(found)
    if unknown:
        wanted = message("experiments.wanted.flag", "a flag of {script}", script=parser.prog)
        known = [f"--{name}" for name in ("help", *settings)]
        raise refusal("FLAG", wanted, unknown[0].partition("=")[0], near=known)
    for name, value in settings.items():
        if isinstance(value, str):
            kind = type(parser.get_default(name))
            try:
                settings[name] = kind(value)
            except ValueError:
                integer = message("config.wanted.integer", "an integer")
                wanted = integer if kind is int else message("config.wanted.number", "a number")
                raise refusal(f"--{name}", wanted, value or NOTHING) from None
    return settings


def figure_name(name: str) -> str:
    """Name of a figure in the current language; one with numbers is translated as a text of the image is."""
    found = translated(f"experiments.figure.{name}", name)
    return wording(name) if found == name else found


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        shown = {wording(str(k)): f"({_plain(v)})" if isinstance(v, dict) else _plain(v) for k, v in value.items()}
        return ", ".join(f"{k}: {v}" for k, v in shown.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else wording(value) if isinstance(value, str) else str(value)
