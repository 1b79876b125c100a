"""The command line: help, flags, JSON, and messages for internal errors."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import danlu
from danlu.cli import main
from danlu.config import keys
from danlu.console import commands
from danlu.console.flags import FLAGS
from danlu.console.parser import ALIASES, VERBS

QUICK = "--epochs 1 --precision fp32 --channels-last false --data.limit 200 --model linear"
TRAIN_KEYS = ["run", "task", "model", "epochs", "metrics", "seconds", "samples_per_second", "findings"]
OWN_FLAGS = {
    "train": ["--config", "--resume", "--json", "--lr", "--optim.lr", "--out"],
    "evaluate": ["--part", "--weights", "--device", "--tta", "--json"],
    "predict": ["--out", "--top", "--weights", "--device", "--tta", "--json"],
    "describe": ["--out", "--seed", "--data.target", "--json"],
    "formats": ["--json"],
    "networks": ["--json"],
    "report": ["--json"],
}


def run(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(command.split())
    return code, *capsys.readouterr()


def as_json(command: str, capsys: pytest.CaptureFixture[str]) -> dict:
    """The one JSON object that a command prints on standard output."""
    code, out, err = run(f"{command} --json", capsys)
    assert code == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("verb", OWN_FLAGS)
def test_help_lists_the_verbs_flags(verb, capsys):
    with pytest.raises(SystemExit) as done:
        main([verb, "--help", "all"])
    assert done.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: danlu {verb} ")
    for flag in OWN_FLAGS[verb]:
        assert flag in out


def test_help_of_train_lists_every_setting_with_its_text(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help", "all"])
    out = " ".join(capsys.readouterr().out.split())
    for key, field in keys().items():
        if key not in ("data.path", "data.fold"):
            assert all(flag in out for flag in FLAGS[key])
            assert " ".join(field.text.split())[:20] in out


def test_help_tells_how_lists_and_switches_are_written(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help", "all"])
    out = " ".join(capsys.readouterr().out.split())
    assert "--schedule.milestones A,B,... step: epochs of the cuts, instead of schedule.every [none]" in out
    assert "--augment.area A,B random" in out
    assert "balanced|root|A,B,..." in out
    assert "--tta [true|false]" in out
    assert not [odd for odd in ("[()]", "[None]", "[True]", "[False]") if odd in out]


@pytest.mark.parametrize("words", ["91 136", "91, 136", "91 136 150"])
def test_list_with_spaces_is_refused_with_the_right_form(words, capsys):
    code, _, said = run(f"train digits --schedule.milestones {words}", capsys)
    wanted = ",".join(words.replace(",", "").split())
    assert code == 2
    assert said == (
        f"danlu: --schedule.milestones must be one word, its values separated by commas: --schedule.milestones {wanted}\n"
    )
    assert "unexpected argument 'more' of danlu train" in run("train digits --epochs 3 more", capsys)[2]


def test_flags_are_unique():
    flags = [flag for each in FLAGS.values() for flag in each]
    assert len(flags) == len(set(flags))


def test_version(capsys):
    assert run("--version", capsys) == (0, f"{danlu.__version__}\n", "")


def test_the_parser_names_every_format_of_export_and_convert():
    """Its tuples spare the import of the tables."""
    from danlu.console.parser import EXPORT_NAMES, TARGET_NAMES
    from danlu.conversion.writers import TARGETS
    from danlu.deployment.file_formats import FILE_FORMATS

    assert tuple(FILE_FORMATS) == EXPORT_NAMES
    assert tuple(TARGETS) == TARGET_NAMES


def test_verbs_are_the_names_in_python_and_aliases_do_the_same(capsys, monkeypatch, tmp_path):
    assert ALIASES == {"eval": "evaluate", "data": "describe", "doctor": "diagnose"}
    assert {*VERBS} - {*danlu.__all__} == {"formats", "networks", "report"}
    assert commands.COMMANDS.keys() == VERBS.keys() - {"watch"}  # it runs before torch is imported
    (tmp_path / "config.yaml").write_text("")  # of a run
    for alias, verb in ALIASES.items():
        monkeypatch.setitem(commands.COMMANDS, verb, lambda values, console: ({"given": str(values)}, 0))
        assert as_json(f"{alias} {tmp_path}", capsys) == as_json(f"{verb} {tmp_path}", capsys)


def test_type_checkers_see_the_public_names():
    tree = ast.parse(Path(danlu.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {name.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert seen == danlu._PUBLIC
    assert {*danlu.__all__} == danlu._PUBLIC.keys() - {*danlu._ADAPTERS}


def test_nothing_shows_the_help(capsys):
    code, out, _ = run("", capsys)
    assert code == 0
    assert all(verb in out for verb in (*VERBS, *ALIASES))


def test_help_does_not_import_torch():
    code = (
        "import sys\nfrom danlu.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'PIL', 'sklearn'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", ["train", "data", "convert --to coco", "eval run"])
def test_a_misspelt_path_is_refused_without_torch(tmp_path, verb):
    (tmp_path / "photos").mkdir()
    code = (
        "import sys\nfrom danlu.cli import main\n"
        f"assert main([*{verb!r}.split(), {str(tmp_path / 'photso')!r}]) == 2\n"
        "heavy = {'torch', 'numpy', 'pandas', 'PIL', 'sklearn'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"did you mean {str(tmp_path / 'photos')!r}?" in done.stderr


def test_json_of_train_eval_predict_data_and_report(home, capsys):
    trained = as_json(f"train digits {QUICK} --out run", capsys)
    assert list(trained) == TRAIN_KEYS
    assert list(trained["metrics"]) == ["train", "val", "test"]
    assert trained["metrics"]["train"].keys() == {"loss", "accuracy"}
    for split in ("val", "test"):
        assert {"loss", "accuracy", "f1", "ece"} <= trained["metrics"][split].keys()
    assert (trained["run"], trained["task"], trained["model"], trained["epochs"]) == ("run", "classify", "linear", 1)

    evaluated = as_json("eval run", capsys)
    assert list(evaluated)[: len(TRAIN_KEYS)] == TRAIN_KEYS
    assert evaluated["metrics"]["test"] == trained["metrics"]["test"]
    assert evaluated["metrics"]["val"] == {}
    assert evaluated["test_looks"] == 2

    Image.new("L", (8, 8), 200).save("grey.png")
    (said,) = as_json("predict run grey.png --top 2", capsys)["predictions"]
    assert list(said) == ["path", "class", "confidence", "top", "distance"]
    assert said["top"][0] == [said["class"], said["confidence"]]
    assert len(said["top"]) == 2

    found = as_json("data digits --out sheet.png", capsys)
    assert {"data", "format", "task", "samples", "counts", "split", "classes", "sizes", "mean", "std"} <= found.keys()
    assert found["samples"] == sum(found["counts"].values()) == 1797
    assert Image.open("sheet.png").size[0] > 100

    assert as_json("report run", capsys) == {"report": "run/report.html"}


@pytest.mark.parametrize(
    ("flag", "begins"),
    [
        ("--lr fast", "--lr must"),
        ("--optim.lr fast", "--optim.lr must"),
        ("--optim.lr=fast", "--optim.lr must"),
        ("--optim.weight_decay x", "--optim.weight-decay must"),
        ("--model.name lennet", "--model.name must"),
        ("--model lennet", "--model must"),
        ("--size 2", "--size must"),
    ],
)
def test_a_refusal_names_the_flag_that_was_typed(flag, begins, home, capsys):
    code, _, said = run(f"train digits {flag} --precision fp32 --channels-last false", capsys)
    assert code == 2
    assert said.startswith(f"danlu: {begins}")


def test_a_refusal_of_a_file_names_the_setting(home, capsys):
    Path("a.yaml").write_text("optim: {lr: fast}")
    assert run("train digits --config a.yaml", capsys)[2].startswith("danlu: optim.lr in a.yaml must be a number")


@pytest.mark.parametrize("words", ["--tta", "--tta true", "--tta=yes"])
def test_switches_take_a_value_or_none(words, home, capsys, monkeypatch):
    seen = {}
    monkeypatch.setitem(commands.COMMANDS, "train", lambda values, console: (seen.update(values) or {}, 0))
    assert run(f"train {words} digits", capsys)[0] == 0
    assert (seen["data.path"], seen["tta"]) in {("digits", "true"), ("digits", "yes")}


def test_underscores_may_stand_for_dashes(capsys, monkeypatch):
    seen = {}
    monkeypatch.setitem(commands.COMMANDS, "train", lambda values, console: (seen.update(values) or {}, 0))
    assert run("train digits --batch_size=32 --optim.weight_decay 0.1 --out my_run", capsys)[0] == 0
    assert (seen["batch_size"], seen["optim.weight_decay"], seen["out"]) == ("32", "0.1", "my_run")


@pytest.mark.internal_errors
@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            KeyError("colour"),
            1,
            "danlu: internal error: KeyError: 'colour'; please report it with the end of danlu-bug-report.txt",
        ),
        (MemoryError(), 1, "danlu: out of memory; lower --batch-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), 1, "danlu: out of memory"),
        (PermissionError(13, "Permission denied", "a.csv"), 2, "danlu: a.csv cannot be used: permission denied"),
        (
            OSError(28, "No space left on device", "a.csv"),
            1,
            "danlu: a.csv could not be read or written: no space left",
        ),
        (danlu.Refusal("no\nsuch thing"), 2, "danlu: no such thing"),
        (danlu.Failure("the disk is full"), 1, "danlu: the disk is full"),
        (KeyboardInterrupt(), 130, "danlu: interrupted"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_unexpected_errors_are_converted(error, code, says, debug, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def broken(values, console):
        raise error

    monkeypatch.setitem(commands.COMMANDS, "train", broken)
    monkeypatch.setenv("DANLU_DEBUG", "1" if debug else "")
    found, out, err = run("train digits", capsys)
    assert (found, out) == (code, "")
    assert err.splitlines()[-1].startswith(says)
    shown = debug and not isinstance(error, KeyboardInterrupt)
    assert ("Traceback" in err) == shown
    assert shown or err.count("\n") == 1


def test_formats_are_listed_as_the_flag_takes_them(capsys):
    from danlu.data.recognition import format_named

    listed = as_json("formats", capsys)["formats"]
    assert {"coco", "instance-masks", "csv-boxes", "folder"} <= set(listed)
    assert all(format_named(name) == name.replace("-", " ") for name in listed)
    assert all(name in run("formats", capsys)[1] for name in listed)


def test_networks_are_listed_as_the_flag_takes_them(capsys):
    listed = as_json("networks", capsys)
    assert {"lenet", "resnet18", "vit-tiny"} <= set(listed["networks"])
    assert {"yolo-nano", "mask-rcnn", "torchvision/fcos_resnet50_fpn"} <= set(listed["detectors"])
    shown = run("networks", capsys)[1]
    assert all(name in shown for group in listed.values() for name in group)
