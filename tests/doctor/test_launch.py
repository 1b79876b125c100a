"""`danlu watch SCRIPT`: the program sees what `python SCRIPT` shows it, and ends the same way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from danlu.console.watch import split_program
from danlu.doctor.script.launcher import through_launcher

SEEN = """
import sys
print(sys.argv, sys.path[0], __name__, __file__, __spec__ is None, "torch" in sys.modules, sorted(globals()))
print(sys.modules["__main__"].__dict__ is globals())
"""


def outcome(folder: Path, *words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("as_module", [False, True], ids=["script", "module"])
@pytest.mark.parametrize(
    "end", ["", "raise SystemExit(7)", "sys.exit('stopped')", "def f(): 1 / 0\nf()"], ids=["0", "7", "text", "error"]
)
def test_a_program_sees_what_python_shows_it(tmp_path: Path, as_module: bool, end: str) -> None:
    (tmp_path / "seen.py").write_text(SEEN + end + "\n", encoding="utf-8")
    program = ["-m", "seen"] if as_module else ["seen.py"]
    arguments = ["--some_flag", "--out", "x", "-h"]
    assert outcome(tmp_path, "-m", "danlu", "watch", *program, *arguments) == outcome(tmp_path, *program, *arguments)


def test_a_missing_script_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("", encoding="utf-8")
    code, out, error = outcome(tmp_path, "-m", "danlu", "watch", "trian.py")
    assert (code, out) == (2, "")
    assert error == "danlu: SCRIPT must be a Python script, or -m MODULE, got 'trian.py'; did you mean 'train.py'?\n"


def test_words_after_the_script_belong_to_it() -> None:
    assert split_program(["--lang", "zh", "a.py", "--lang", "fr"]) == (["--lang", "zh"], ["a.py", "--lang", "fr"])
    assert split_program(["--out=x", "-m", "a", "-m"]) == (["--out=x"], ["-m", "a", "-m"])


def test_torchrun_starts_its_processes_under_watch() -> None:
    given = ["--nproc-per-node", "2", "train.py", "--lr", "1"]
    module, words = through_launcher("torchrun", given, ["--lang", "zh"])
    assert module == "torch.distributed.run"
    expected = ["--nproc-per-node", "2", "--module", "danlu", "watch", "--lang", "zh", "train.py", "--lr", "1"]
    assert words == expected
    _, words = through_launcher("torchrun", ["-m", "pkg.train"], [])
    assert words == ["-m", "danlu", "watch", "-m", "pkg.train"]
