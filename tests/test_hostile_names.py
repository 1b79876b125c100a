"""Names of classes, files and columns are text in every output: terminal, log, JSON, report, weights, other formats."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image
from rich.console import Console

import danlu
from danlu.cli import main
from danlu.conversion.convert import convert
from danlu.data.formats import open_dataset
from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.findings_page import TrainingSection, write_sections
from danlu.engine.checkpoint import read_weights
from danlu.message import printable, printable_line, unicode_text
from danlu.printing.console import TextConsole
from danlu.printing.lines import print_line
from danlu.printing.tables import plain_table, print_in_parts
from danlu.refuse import Refusal
from danlu.report.markup import escape
from danlu.run.folder import Run
from tests.hostile import FOLDERS, HOSTILE, NOT_UTF8, unsafe

QUICK = ["--model=linear", "--epochs=1", "--precision=fp32", "--channels-last=false", "--size=8", "--device=cpu"]


def shown_on(console: Callable[..., Console], width: int, say: Callable[[Console], object]) -> str:
    out = io.StringIO()
    say(console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("name", [*HOSTILE, NOT_UTF8, "\ud800"])
def test_lines_and_cells_show_the_name_as_it_is(name: str) -> None:
    shown = printable_line(name)
    assert not unsafe(shown, kept="")
    assert printable(shown) == shown
    for console in (TextConsole, Console):  # the console of `danlu.train(console=...)` may be any
        assert shown_on(console, 1000, lambda to: print_line(to, name)) == f"{shown}\n"
        table = plain_table(("name", "other"))
        table.add_row(name, "end")
        row = shown_on(console, 1000, lambda to: to.print(table, end="")).splitlines()[1]  # noqa: B023
        assert row.split() == [*shown.split(), "end"]
    parts = shown_on(TextConsole, 1000, lambda to: print_in_parts(to, [name, "b"], [[name, name]]))
    assert not unsafe(parts)


@pytest.mark.parametrize("name", HOSTILE)
def test_narrow_tables_keep_their_width(name: str) -> None:
    table = plain_table(("name", "other"))
    table.add_row(name, name)
    lines = shown_on(TextConsole, 30, lambda to: to.print(table)).splitlines()
    assert all(len(line) <= 30 for line in lines)
    assert not unsafe("".join(lines))


@pytest.mark.parametrize("name", HOSTILE)
def test_console_escapes_what_is_printed_without_care(name: str) -> None:
    assert not unsafe(shown_on(TextConsole, 400, lambda to: to.print(f"path {name}")))
    assert shown_on(TextConsole, 400, lambda to: to.print("[red]x[/y]")) == "[red]x[/y]\n"


def test_printable_text_of_users_stays() -> None:
    for text in ("plain", "café 丹炉 🙂", "two\nlines\tand a tab", "👩‍🚀", "مرحبا"):
        assert printable(text) == unicode_text(text) == text


@pytest.mark.parametrize("name", HOSTILE)
def test_errors_of_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    verbs = ("tune", "runs", "share", "serve", "evaluate", "export", "follow")
    lines = (["data", name], ["train", "digits", "--model", name], ["predict", name, name], ["report", name])
    for words in (*lines, ["compare", name, name], *([verb, name] for verb in verbs if not name.startswith("-"))):
        assert main(words) == 2
        said = capsys.readouterr()
        assert not unsafe(said.err)
        assert "internal error" not in said.err
        assert said.err.count("\n") == 1


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in a folder for each hostile name, in a folder whose own name is hostile too."""
    root = tmp_path_factory.mktemp("names") / "\x1b[31m[_x]\udce9"
    for number, name in enumerate(FOLDERS):
        (root / name).mkdir(parents=True)
        for k in range(4):
            file = name if k == 0 else f"{number} {k}"
            Image.new("RGB", (8, 8), (9 * number, 60 * k, 80)).save(root / name / f"{file}.png", "PNG")
    return root


@pytest.fixture(scope="module")
def run(images: Path) -> Path:
    folder = images.parent / "[red]run[_x]\x1b"
    assert main(["train", str(images), *QUICK, "--out", str(folder)]) == 0
    return folder


def test_data_and_weights(images: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(images), "--out", str(tmp_path / "sheet.png"), "--json"]) == 0
    said = capsys.readouterr()
    assert not unsafe(said.out + said.err)
    found = json.loads(said.out)
    expected = {unicodedata.normalize("NFC", unicode_text(name)) for name in FOLDERS}
    assert set(found["classes"]) == expected
    assert any("not UTF-8" in note for note in found["notes"])
    assert set(read_weights(Run.open(run).weights("last"))[0].classes) == expected
    assert not unsafe((run / "log.txt").read_text(encoding="utf-8"), kept="\n\t")


def test_every_text_file_of_a_run_is_utf8(run: Path) -> None:
    for file in [*run.glob("*.json"), *run.glob("*.jsonl"), *run.glob("*.yaml"), *run.glob("*.html")]:
        text = file.read_bytes().decode("utf-8")
        if file.suffix == ".json":
            json.loads(text)
        if file.suffix == ".yaml":
            assert yaml.safe_load(text)
    assert os.path.exists(Run.open(run).config.data.path)


COMMANDS = ["predict RUN DATA", "eval RUN", "report RUN", "doctor RUN", "data DATA --out SHEET", "runs RUNS"]
COMMANDS += ["predict RUN DATA --csv TABLE", "compare RUN OTHER --out PAGE", "share RUN --out ZIP"]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands(words: str, images: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {"RUN": str(run), "DATA": str(images), "SHEET": str(tmp_path / "sheet.png"), "RUNS": str(run.parent)}
    places |= {"PAGE": str(tmp_path / "page.html"), "ZIP": str(tmp_path / "a.zip"), "TABLE": str(tmp_path / "a.csv")}
    if "OTHER" in words:
        places["OTHER"] = str(shutil.copytree(run, tmp_path / run.name))
    given = [places.get(word, word) for word in words.split()]
    for flags in ([], ["--json"]):
        assert main([*given, *flags]) == 0
        said = capsys.readouterr()
        assert not unsafe(said.out + said.err, kept="\n\t")
        (tmp_path / "a.zip").unlink(missing_ok=True)  # `danlu share` overwrites no file
    json.loads(said.out)
    for file in (tmp_path / "page.html", tmp_path / "a.csv"):
        if file.exists():
            text = file.read_text(encoding="utf-8")
            assert "<script>document" not in text or file.suffix == ".csv"
            cells = [cell for row in csv.reader(text.splitlines()) for cell in row] if file.suffix == ".csv" else []
            assert not [cell for cell in cells if cell[:1] in "=@" and cell]


def test_report(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<script>document" not in page
    assert "<img src=x" not in page
    assert not unsafe(page[page.index("<body>") : page.index("<script>")], kept="\n\t")


def test_pages_forbid_what_they_do_not_need(run: Path, tmp_path: Path) -> None:
    doctor = write_sections(tmp_path / "doctor.html", [TrainingSection(Ledger(), [], title=name) for name in HOSTILE])
    for page in (doctor, run / "report.html"):
        head = page.read_text(encoding="utf-8").split("<style>")[0]
        assert "Content-Security-Policy" in head
        assert "default-src 'none'" in head
        assert "http" not in head.replace("http-equiv", "")
    assert "script-src" not in doctor.read_text(encoding="utf-8")
    assert "<script" not in doctor.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOSTILE)
def test_escaped_html_is_printable(name: str) -> None:
    assert not unsafe(escape(name), kept="\n\t")
    assert not set(escape(name)) & set("<>\"'")


def test_similar_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    for name in (NOT_UTF8, "caf\\xe9"):
        (tmp_path / name).mkdir()
        for k in range(3):
            Image.new("RGB", (8, 8), (k, 80, 80)).save(tmp_path / name / f"{k}.png")
    with pytest.raises(Refusal, match="not UTF-8"):
        danlu.describe(tmp_path)


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_converted_boxes_keep_their_classes(to: str, tmp_path: Path) -> None:
    """Each class on one image, named like it; names in annotations are paths of any system, with spaces cut off."""
    names = [name for name in FOLDERS if "\\" not in name and name == name.strip()]
    (tmp_path / "data").mkdir()
    images, boxes = [], []
    for number, name in enumerate(names):
        Image.new("RGB", (20, 20)).save(tmp_path / "data" / f"{name}.png", "PNG")
        images.append({"id": number, "file_name": f"{name}.png", "width": 20, "height": 20})
        boxes.append({"id": number + 1, "image_id": number, "category_id": number, "bbox": [2, 2, 9, 9], "iscrowd": 0})
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (tmp_path / "data" / "boxes.json").write_text(json.dumps(content))
    if to == "voc":
        with pytest.raises(Refusal, match="XML cannot hold"):
            convert(tmp_path / "data", to=to, out=tmp_path / "out")
        return
    made = convert(tmp_path / "data", to=to, out=tmp_path / "out")
    assert made.images == len(names)
    again = open_dataset(danlu.config.DataConfig(path=str(tmp_path / "out")))
    before = open_dataset(danlu.config.DataConfig(path=str(tmp_path / "data")))
    assert again.classes == before.classes
    assert len(again) == len(before)
