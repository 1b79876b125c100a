"""A shared run is used as it is, tells no secrets, and hostile zips are refused in one sentence."""

import json
import zipfile
from pathlib import Path

import pytest

import danlu
from danlu.cli import main
from danlu.refuse import Refusal
from danlu.run import archive


@pytest.fixture(scope="module")
def shared(coloured_run, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("shared") / "colours.zip"
    danlu.share(coloured_run, out=file, use="Sorting coloured noise.")
    return file


def changed(shared: Path, target: Path, changes: dict[str, bytes | None], **settings) -> Path:
    """Copy of a zip with other contents; None removes an entry."""
    with zipfile.ZipFile(shared) as old, zipfile.ZipFile(target, "w") as new:
        kept = {name: old.read(name) for name in old.namelist()} | changes
        for name, content in kept.items():
            if content is not None:
                new.writestr(name, content, **settings)
    return target


def test_predictions_and_metrics_are_those_of_the_run(shared, coloured_run, coloured, tmp_path, capsys):
    image = coloured / "red" / "00.png"
    again = danlu.load(shared)
    assert again.predict(image)[0].to_json() == coloured_run.predict(image)[0].to_json()
    assert again.metrics.test.to_json() == coloured_run.metrics.test.to_json()
    assert danlu.load(shared).folder == again.folder
    assert main(["predict", str(shared), str(image), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["class"] == "red"
    assert again.evaluate(coloured).metrics.test.accuracy > 0.5


def test_card_and_contents(shared, coloured_run, coloured):
    with zipfile.ZipFile(shared) as file:
        texts = {name: file.read(name).decode() for name in file.namelist() if name != archive.WEIGHTS}
        assert file.getinfo(archive.WEIGHTS).compress_type == zipfile.ZIP_STORED
    card = texts["README.md"]
    for piece in ("Sorting coloured noise.", "blue, green, red", "small-cnn", "random initialisation", "## Metrics"):
        assert piece in card
    assert f"{coloured_run.metrics.test.accuracy:.4f}" in card
    for text in texts.values():
        assert str(coloured.parent) not in text
        assert "data:image" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config.yaml": None}, "without config.yaml"),
        ({archive.WEIGHTS: None}, "without weights/best.safetensors"),
        ({archive.WEIGHTS: b"nothing"}, "is damaged or not a safetensors file"),
        ({f"{i}.txt": b"" for i in range(80)}, "some twice or too many"),
        ({"config.yaml": b"a: [" * 9}, "config.yaml"),
    ],
)
def test_zips_that_are_no_runs_are_refused(changes, said, shared, tmp_path, capsys):
    file = changed(shared, tmp_path / "bad.zip", changes)
    assert main(["predict", str(file), "x.png"]) == 2
    written = capsys.readouterr().err
    assert said in written
    assert written.count("\n") == 1


def test_paths_out_of_the_folder_and_other_names_are_not_written(shared, tmp_path):
    names = {"../evil.txt": b"x", "/tmp/danlu-evil.txt": b"x", "weights/../../evil.txt": b"x", "code.py": b"x"}
    run = danlu.load(changed(shared, tmp_path / "odd.zip", names))
    written = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    assert written <= {*archive.NAMES}
    assert [path.name for path in run.folder.parent.iterdir()] == [run.folder.name]
    assert not Path("/tmp/danlu-evil.txt").exists()


def test_bombs_are_stopped_while_they_are_read(shared, tmp_path, monkeypatch):
    monkeypatch.setitem(archive.NAMES, "summary.json", 1 << 20)
    text = changed(
        shared, tmp_path / "text.zip", {"summary.json": b"0" * (4 << 20)}, compress_type=zipfile.ZIP_DEFLATED
    )
    with pytest.raises(Refusal, match=r"uncompressed|larger than 1 MiB"):
        danlu.load(text)
    with zipfile.ZipFile(shared) as old:
        kept = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as new:
        for name, content in (kept | {"summary.json": b"0" * (4 << 20)}).items():
            how = zipfile.ZIP_DEFLATED if name == "summary.json" else zipfile.ZIP_STORED
            new.writestr(name, content, compress_type=how)
    with pytest.raises(Refusal, match=r"summary\.json is larger than 1 MiB"):
        danlu.load(tmp_path / "bomb.zip")


def test_cut_zip_and_other_files(shared, tmp_path):
    whole = shared.read_bytes()
    for name, content in (("cut.zip", whole[: len(whole) // 2]), ("text.zip", b"hello"), ("empty.zip", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Refusal, match="damaged or not a zip file"):
            danlu.load(tmp_path / name)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (tmp_path / "flipped.zip").write_bytes(bytes(flipped))
    with pytest.raises(Refusal, match="damaged"):
        danlu.load(tmp_path / "flipped.zip")


def test_out_must_be_a_new_zip(coloured_run, tmp_path):
    (tmp_path / "a.zip").touch()
    for name, said in (("a.zip", "a new file"), ("a.tar", "ends in .zip"), ("no/a.zip", "a folder that exists")):
        with pytest.raises(Refusal, match=said):
            danlu.share(coloured_run, out=tmp_path / name)
