import json

import numpy as np
import pandas
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import danlu
from danlu import cli


@pytest.fixture(scope="module")
def digits():
    """Images uint8 (N, 8, 8) as danlu reads them, and their classes."""
    found = load_digits()
    return np.rint(found.images * (255 / 16)).astype(np.uint8), found.target


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two colours, one file that is none, in two levels."""
    root = tmp_path_factory.mktemp("images")
    (root / "deep").mkdir()
    Image.new("RGB", (30, 20), (200, 50, 40)).save(root / "a red one.png")
    Image.new("RGB", (20, 30), (40, 60, 200)).save(root / "deep" / "蓝.jpg")
    (root / "broken.png").write_bytes(b"\x89PNG nothing")
    (root / "notes.txt").write_text("not an image")
    (root / "._a red one.png").write_bytes(b"left by a file manager")
    return root


def test_arrays_of_all_shapes(digits_run, digits):
    images, targets = digits
    found = digits_run.predict(images[:60, :, :, None])
    right = [row["class"] == str(target) for row, target in zip(found, targets[:60], strict=True)]
    assert np.mean(right) > 0.9
    single = digits_run.predict(images[0])
    assert single[0]["class"] == found[0]["class"]
    assert single[0]["confidence"] == pytest.approx(found[0]["confidence"], abs=1e-4)
    several = digits_run.predict(images[0], Image.fromarray(images[1]), np.repeat(images[2][..., None], 3, 2))
    assert [row["class"] for row in several] == [row["class"] for row in found[:3]]
    for row in found:
        assert row["confidence"] == row["top"][0][1] == max(probability for _, probability in row["top"])
        assert 0 < sum(probability for _, probability in row["top"]) <= 1 + 1e-5


def test_predictions_are_those_of_the_evaluation(digits_run, digits):
    images, targets = digits
    found = digits_run.predict(images[..., None], top=1)
    accuracy = np.mean([row["class"] == str(target) for row, target in zip(found, targets, strict=True)])
    parts = [danlu.evaluate(digits_run, "digits")["metrics"]["test"]["accuracy"]]
    assert accuracy == pytest.approx(parts[0], abs=1e-3)


def test_files_and_folders(coloured_run, folder):
    found = danlu.predict(coloured_run, folder)
    assert [row["path"] for row in found] == sorted(row["path"] for row in found)
    by_name = {row["path"].rpartition("/")[2]: row for row in found}
    assert {*by_name} == {"a red one.png", "蓝.jpg", "broken.png"}
    assert by_name["a red one.png"]["class"] == "red"
    assert by_name["蓝.jpg"]["class"] == "blue"
    assert "error" in by_name["broken.png"]
    assert "class" not in by_name["broken.png"]
    one = danlu.predict(coloured_run.folder, folder / "deep" / "蓝.jpg", top=2)
    assert one[0]["top"][0][0] == "blue"
    assert len(one[0]["top"]) == 2


def test_image_is_recognised_by_its_content(coloured_run, folder, tmp_path):
    for name, source in (("IMG001", "a red one.png"), ("scan.v2", "deep/蓝.jpg"), ("notes", "notes.txt")):
        (tmp_path / name).write_bytes((folder / source).read_bytes())
    found = danlu.predict(coloured_run, tmp_path)
    assert [(row["path"], row["class"]) for row in found] == [
        (str(tmp_path / "IMG001"), "red"),
        (str(tmp_path / "scan.v2"), "blue"),
    ]


def test_images_in_memory_are_numbered_in_their_order(coloured_run, folder):
    torch = pytest.importorskip("torch")
    with Image.open(folder / "a red one.png") as opened:
        red = np.asarray(opened)
    tensor = torch.from_numpy(red / 255).permute(2, 0, 1)
    found = coloured_run.predict([red, Image.fromarray(red)], folder / "a red one.png", np.stack([red, red]), tensor)
    names = [row["path"] for row in found]
    assert names == ["array 0", "array 1", str(folder / "a red one.png"), "array 2", "array 3", "array 4"]
    assert {row["class"] for row in found} == {"red"}


def test_too_large_image_is_reported(coloured_run, tmp_path, monkeypatch):
    Image.new("L", (300, 300)).save(tmp_path / "huge.png")
    Image.new("RGB", (30, 20), (200, 50, 40)).save(tmp_path / "red.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    huge, red = danlu.predict(coloured_run, tmp_path)
    assert (huge["error"], red["class"]) == ("too many pixels (possible decompression bomb)", "red")
    with pytest.raises(danlu.Refusal, match=r"huge\.png cannot be read as an image: too many pixels"):
        danlu.predict(coloured_run, tmp_path / "huge.png")


def test_broken_file_given_by_the_user_is_refused(coloured_run, folder):
    with pytest.raises(danlu.Refusal, match=r"broken.png cannot be read as an image"):
        danlu.predict(coloured_run, folder / "broken.png")
    with pytest.raises(danlu.Refusal, match=r"a red one\.png"):
        danlu.predict(coloured_run, folder / "a read one.png")
    with pytest.raises(danlu.Refusal, match="at least one file, folder or array"):
        danlu.predict(coloured_run)


def test_an_unreadable_file_among_several_does_not_stop_the_others(coloured_run, folder, tmp_path):
    broken, red = folder / "broken.png", folder / "a red one.png"
    first, second = danlu.predict(coloured_run, broken, red)
    assert (bool(first["error"]), second["class"]) == (True, "red")
    assert [row["path"] for row in danlu.predict(coloured_run, [red, broken])] == [str(red), str(broken)]
    every = danlu.predict(coloured_run, str(folder / "*.png"))  # as typed where the shell does not expand it
    assert str(red) in [row["path"] for row in every]
    with pytest.raises(danlu.Refusal, match="must be an existing file or folder"):
        danlu.predict(coloured_run, str(folder / "*.gif"))


def test_annotated_images_are_written_under_out(coloured_run, folder, tmp_path):
    danlu.predict(coloured_run, folder, out=tmp_path / "said")
    names = {path.name for path in (tmp_path / "said").iterdir()}
    assert names == {"a red one.png", "蓝.png"}
    with Image.open(tmp_path / "said" / "a red one.png") as image:
        assert image.width >= 30


def test_rows_of_a_table_as_file_frame_and_new_words(houses_run, houses, tmp_path):
    frame = pandas.read_csv(houses).head(30)
    from_file = tmp_path / "rows.csv"
    frame.drop(columns="price").to_csv(from_file, index=False)
    by_file = houses_run.predict(from_file)
    by_frame = houses_run.predict(frame)
    assert [row["value"] for row in by_file] == pytest.approx([row["value"] for row in by_frame])
    errors = np.abs([row["value"] for row in by_frame] - frame["price"])
    assert np.median(errors) < 20
    new = pandas.DataFrame({"area": [100.0, None], "rooms": [3, 3], "place": ["moon", "inland"]})
    assert all(np.isfinite(row["value"]) for row in houses_run.predict(new))


def test_a_table_without_a_column_is_refused(houses_run):
    with pytest.raises(danlu.Refusal, match="area"):
        houses_run.predict(pandas.DataFrame({"rooms": [1], "place": ["inland"]}))


def test_the_command_prints_a_table_or_one_object(coloured_run, folder, capfd):
    assert cli.main(["predict", coloured_run.name, str(folder)]) == 0
    out = capfd.readouterr().out
    assert "red" in out
    assert "unreadable" in out
    assert cli.main(["predict", coloured_run.name, str(folder), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["predictions"]
    assert len(found) == 3


def test_list_of_files_with_other_files(coloured_run, coloured):
    files = sorted((coloured / "red").iterdir())[:2]
    assert [row["path"] for row in coloured_run.predict(files)] == [str(file) for file in files]
    with pytest.raises(danlu.Refusal, match="PATH must be a file, a folder, an array or an image, got 3"):
        coloured_run.predict(3)
