"""Run the quick version of every experiment and check its central claim."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import danlu
from danlu.message import speaking

pytest.importorskip("matplotlib", reason="the experiments draw with matplotlib: pip install danlu[experiments]")
FOLDER = Path(__file__).parents[1] / "experiments"
ZH = Path(danlu.__file__).parent / "translations" / "zh"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch):
    """Map the name of a script to the figures of its quick run, whose names are checked to be in Chinese too."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def run(name: str) -> dict[str, Any]:
        figures = importlib.import_module(name).run(quick=True)
        with speaking("zh"):
            names = {one: importlib.import_module("style").figure_name(one) for one in figures}
        assert [one for one, shown in names.items() if one == shown and re.search("[a-z]{2}", one)] == []
        return figures

    yield run
    for name in ("style", "training"):
        sys.modules.pop(name, None)


def test_gradient_descent_by_hand(quick) -> None:
    figures = quick("gradient_descent_by_hand")
    assert figures["a"] == pytest.approx([1, 1.8, 1.96, 1.992], abs=1e-4)
    assert figures["learning rate 1"] == 9
    left = figures["distance left"]
    assert left["right"] < left["oscillates"] < left["too small"]


def test_batch_size(quick) -> None:
    figures = quick("batch_size")
    noise = figures["noise"]
    assert noise[8] / noise[1024] == pytest.approx((1024 / 8) ** 0.5, rel=0.5)  # falls as the square root


def test_optimizers(quick) -> None:
    left = quick("optimizers")["distance left"]
    assert left["momentum"] < left["sgd"]
    assert max(left.values()) < 1


def test_weight_decay(quick) -> None:
    figures = quick("weight_decay")
    for decay, point in figures["ends at"].items():
        assert point == pytest.approx(figures["expected"][decay], abs=1e-3)


def test_dropout(quick) -> None:
    figures = quick("dropout")
    assert figures["mean"] == pytest.approx([1.0] * 16, abs=0.03)
    assert figures["variance"] == pytest.approx(figures["p/(1-p)"], rel=0.05)


def test_folds(quick) -> None:
    figures = quick("folds")
    assert figures["5 folds"][1] < figures["hold-out"][1]


def test_training_script_faults(quick) -> None:
    figures = quick("training_script_faults")
    assert figures["training loss, recreated optimiser"] > figures["training loss, one optimiser"]
    assert figures["accuracy by batches x size"] == pytest.approx(figures["accuracy"] * 270 / 384)
    assert figures["MiB kept by the graph"] > 5


def test_augmentation(quick) -> None:
    figures = quick("augmentation")
    assert all(len(figures[way]) == len(figures["training digits"]) for way in ("none", "distorted", "and shifted"))


def test_saddle_escape(quick) -> None:
    figures = quick("saddle_escape")
    assert figures["kind of point"] == "saddle"
    before, after = figures["loss at the stall and after one step along the escape"]
    assert after < before
    alone, helped = figures["steps until the loss is halved, without and with the escape"]
    assert helped < alone


def test_minimum_ratio(quick) -> None:
    figures = quick("minimum_ratio")
    assert all(0 < p < 1 for p in figures["minimum ratio"])
    assert figures["minimum ratio"][-1] > figures["minimum ratio"][0]


def test_edge_of_stability(quick) -> None:
    figures = quick("edge_of_stability")
    start, end = figures["sharpness at the start"], figures["sharpness, mean of the last quarter"]
    assert start[0.2] > figures["limits 2/lr"][0.2] > 0.9 * end[0.2]  # it starts above the limit and decreases


def test_bouncing_valley(quick) -> None:
    figures = quick("bouncing_valley")
    loss, gradient, cosine = figures["last loss"], figures["last gradient"], figures["last cosine"]
    assert gradient["bounces"] > 4  # not a critical point, although the loss stalls
    assert cosine["bounces"] < -0.99
    assert max(loss["lower lr"], loss["momentum"]) < 0.2 * loss["bounces"]
    assert "optim.oscillation" in figures["findings"]["bounces"]
    assert "optim.oscillation" not in figures["findings"]["momentum"]


def test_depth(quick) -> None:
    figures = quick("depth")
    assert figures["products of 100"] == pytest.approx({1.5: 4.07e17, 0.8: 2.04e-10}, rel=1e-2)
    forward = figures["scale of the last layer's output over the first's"]
    backward = figures["gradient at the first layer over the last's"]
    assert forward["He"] == pytest.approx(1, abs=0.4)
    assert forward["Xavier"] == pytest.approx(0.5 ** (9 / 2), rel=0.4)  # each of nine ReLUs halves the variance
    assert backward["N(0, 0.01²)"] < 1e-6
    assert backward["sigmoid"] < 0.25**9  # its slope is at most 1/4


def test_nan_autopsy(quick) -> None:
    figures = quick("nan_autopsy")
    pixel, root, log = (figures[n] for n in ("NaN pixel", "root of a negative number", "logarithm of zero"))
    assert (pixel["step"], pixel["source"], pixel["samples"]) == (16, "input", [17])
    assert (root["source"], root["layer"]) == ("activation", "middle")
    assert (log["step"], log["source"], log["reason"]) == (16, "loss", "log of zero")
    assert figures["float16 overflows"]["reason"] == "overflow of float16"
    assert figures["learning rate 500"]["reason"] == "divergence"


def test_noise_scale(quick) -> None:
    figures = quick("noise_scale")
    assert all(value > 0 for value in figures["noise scale, exact, first and last"])
    assert figures["steps needed"][256] <= figures["steps needed"][16]


def test_search_methods(quick) -> None:
    """The best loss so far never rises, and TPE starts as random search."""
    pytest.importorskip("optuna", reason="danlu tune needs optuna: pip install danlu[tune]")
    losses = quick("search_methods")["validation losses"]
    assert set(losses) == {"grid", "random", "tpe"}
    for course in losses.values():
        assert course == [sorted(one, reverse=True) for one in course]
    assert losses["tpe"] == losses["random"]
    assert losses["grid"] != losses["random"]


def test_pose_symmetry(quick) -> None:
    """A few steps bring the minimum over the symmetries below chance level, and PLoss nowhere."""
    figures = quick("pose_symmetry")
    level, _ = figures["median and mean degrees at chance level"]
    assert level == pytest.approx(41.5, abs=1.5)
    reached = figures["median degrees"]
    assert reached["minimum over 24 symmetries"] < 0.85 * level
    assert reached["PLoss"] > 0.85 * level


def test_hough_voting(quick) -> None:
    figures = quick("hough_voting")
    for errors in figures["errors in px by noise"].values():
        assert errors["coarse, then refined"] < 0.6 * min(errors["all lines"], errors["arg-max at every pixel"])
    times = figures["ms per object"]
    assert times["coarse, then refined"] < times["arg-max at every pixel"]


def test_no_placeholder_is_left_in_a_docstring() -> None:
    for script in FOLDER.glob("*.py"):
        head = script.read_text(encoding="utf-8").split('"""')[1]
        assert "MEASURED" not in head
        assert "@" not in head


def script(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / f"{name}.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


def test_a_script_says_in_chinese_where_its_image_is_and_what_it_shows(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = script("weight_decay", "--steps", "30", DANLU_LANG="zh")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "weight_decay.png").is_file()  # not over the image of README.md, whose settings are others
    assert done.stderr == ""  # no notes of matplotlib about its fonts
    for words in ("终点：", "图片：", str(tmp_path / "weight_decay.png"), "图中内容：四种权重衰减"):
        assert words in done.stdout.replace(": ", "：")


def test_without_matplotlib_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = script("weight_decay", "--lang", "zh", PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "实验用 matplotlib 画图：pip install matplotlib\n"


@pytest.fixture
def style(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("style")
    sys.modules.pop("style", None)


def test_help_is_in_the_language_of_the_output(style) -> None:
    with speaking("zh"):
        text = style._parser(lambda quick=False: {}, "图").format_help()
    assert ("用法" in text, "选项" in text, "usage" in text, "show this help" in text) == (True, True, False, False)


def test_text_in_an_image_is_translated_with_its_numbers(style) -> None:
    with speaking("zh"):
        assert style.wording(" batch 8: 12 updates") == " 批量 8：12 次更新"
        assert style.wording(r"The noise falls as $1/\sqrt{batch}$") == r"噪声按 $1/\sqrt{B}$ 下降，B 为批量"
        assert style.wording("a {text} without a translation, 1e-3") == "a {text} without a translation, 1e-3"
        assert style.wording("0.25") == "0.25"
    assert style.wording("batch 8: 12 updates") == "batch 8: 12 updates"


def test_without_a_font_the_text_stays_english_and_that_is_said(style, monkeypatch, capsys) -> None:
    monkeypatch.setattr(style, "CHINESE_FONTS", ())
    with speaking("zh"):
        style.choose_font()
    assert "没有找到含汉字的字体" in capsys.readouterr().out
    assert not style.Images.translated


def test_formulas_hold_no_chinese_and_their_signs_are_drawn(style, caplog) -> None:
    """The fonts of formulas have no Chinese, the Chinese font has no minus sign."""
    texts = tomllib.loads((ZH / "experiments.toml").read_text(encoding="utf-8"))
    for formula in re.findall(r"\$[^$]*\$", str(texts)):
        assert not re.search("[一-鿿]", formula), formula
    with speaking("zh"), style.matplotlib.rc_context():
        style.choose_font()
        if not style.Images.translated:
            pytest.skip("no Chinese font is installed")
        figure, ((axis,),) = style.panels(1)
        axis.semilogy([1e-3, 1.0], label="batch 8: 12 updates")
        axis.legend()
        style.save(figure, "signs", quick=True)
        style.Images.translated = False
    assert caplog.text == ""


def test_the_figures_of_an_experiment_are_in_chinese() -> None:
    done = script("nan_autopsy", "--quick", "--lang", "zh")
    assert done.returncode == 0, done.stderr
    assert "NaN 像素: 步: 16, 来源: 输入, 原因: 输入有坏值" in done.stdout
    for line in done.stdout.splitlines():  # codes and names stay, sentences do not
        assert not re.search("[a-z]+ [a-z]+", line), line


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--stpes", "3"], "FLAG must be a flag of saddle_escape.py, got '--stpes'; did you mean '--steps'?"),
        (["--steps"], "--steps must be an integer, got nothing"),
        (["--steps", "1.5", "--lang", "zh"], "--steps 要求：整数；得到的是 '1.5'"),
    ],
)
def test_wrong_flags_are_refused_in_one_sentence_of_the_language(words: list[str], sentence: str) -> None:
    done = script("saddle_escape", *words)
    assert (done.returncode, done.stderr) == (2, f"danlu: {sentence}\n")
