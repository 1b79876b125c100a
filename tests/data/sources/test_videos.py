"""Class folders of videos, each one clip."""

import sys

import numpy as np
import pytest

import danlu
from danlu.data.dataset import TEST, TRAIN
from danlu.data.files.video_file import frames_at, video_info
from danlu.refuse import Refusal
from tests.data.sources.test_clip_arrays import read

av = pytest.importorskip("av")
SHADES = (0, 60, 120, 180, 240)  # of the frames, in order


def write(file, shades=SHADES, size=(48, 32)):
    """A video of grey frames."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for shade in shades:
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), shade, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def folder(root, videos=10, ending="mp4"):
    """Clips that become brighter, and clips that become darker."""
    for number in range(videos):
        write(root / "brighter" / f"{number}.{ending}")
        write(root / "darker" / f"{number}.{ending}", SHADES[::-1])
    return root


def shades(clip):
    """Mean brightness of each frame of a clip (T * 3, S, S)."""
    return clip.unflatten(0, (-1, 3)).float().mean(dim=(1, 2, 3))


@pytest.mark.parametrize("ending", ["mp4", "avi", "MOV", "mkv"])
def test_frames_are_read_in_their_order(ending, tmp_path):
    data = read(folder(tmp_path, 3, ending))
    assert (data.format, data.task, data.classes) == ("videos", "classify", ("brighter", "darker"))
    assert (data.frames, data.stored_channels) == (5, 3)
    assert data.inputs.shape == (6, 15, 32, 32)
    assert data.targets.tolist() == [0] * 3 + [1] * 3
    assert shades(data.inputs[0]).tolist() == pytest.approx(SHADES, abs=6)
    assert shades(data.inputs[5]).tolist() == pytest.approx(SHADES[::-1], abs=6)
    assert data.name_of(3).lower() == f"darker/0.{ending.lower()}"


def test_frames_are_evenly_spaced(tmp_path):
    file = write(tmp_path / "long.mp4", range(0, 250, 10))
    assert video_info(file) == (25, 32, 48)
    taken = frames_at(file, [2, 12, 12, 24, 99])
    assert [frame.mean() for frame in taken] == pytest.approx([20, 120, 120, 240, 240], abs=6)
    data = read(folder(tmp_path / "set", 3), frames=2, size=16)
    assert shades(data.inputs[0]).tolist() == pytest.approx([60, 180], abs=6)
    assert any("2 evenly spaced frames" in note for note in data.notes)


def test_splits_are_those_of_images(tmp_path):
    folder(tmp_path / "dataset/training_set", 4)
    folder(tmp_path / "dataset/testing", 2)
    data = read(tmp_path)
    assert [data.given.tolist().count(split) for split in (TRAIN, TEST)] == [8, 4]
    write(tmp_path / "dataset/val/1.mp4")
    data = read(tmp_path)
    assert len(data) == 12
    assert any("used for prediction" in note for note in data.notes), data.notes


def test_broken_videos_are_problems(tmp_path):
    folder(tmp_path, 12)
    file = tmp_path / "darker/7.mp4"
    file.write_bytes(file.read_bytes()[:300])
    data = read(tmp_path)
    assert [one.where for one in data.problems] == ["darker/7.mp4"]
    assert len(data) == 23
    for number in range(4):
        (tmp_path / f"brighter/{number}.mp4").write_bytes(b"no video")
    with pytest.raises(Refusal, match=r"5 of 24 clips cannot be used: brighter/0.mp4"):
        read(tmp_path)
    assert len(read(tmp_path, on_bad="skip")) == 19


def test_videos_without_classes_are_refused(tmp_path):
    write(tmp_path / "1.mp4")
    write(tmp_path / "2.mp4")
    with pytest.raises(Refusal, match=r"1.mp4 is a video without a label: put the videos of each class into a folder"):
        read(tmp_path)


@pytest.mark.parametrize("given", ["", "labels.csv"])
@pytest.mark.parametrize("name", ["clips/{}.mp4", "{}.mp4", "{}"])
def test_a_table_of_videos_is_refused(name, given, tmp_path):
    lines = ["video,label"]
    for number, label in enumerate("abab"):
        write(tmp_path / f"clips/v{number}.mp4")
        lines.append(f"{name.format(f'v{number}')},{label}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    with pytest.raises(Refusal, match=r"labels.csv names videos, but videos get their labels from folders"):
        read(tmp_path / given)


def test_pyav_is_named_where_it_is_missing(tmp_path, monkeypatch):
    folder(tmp_path, 2)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(Refusal, match="is a video, which requires PyAV: `pip install av`"):
        read(tmp_path)


def test_training_learns_a_direction_and_predicts_a_folder(tmp_path):
    data = folder(tmp_path / "videos", 40)
    run = danlu.train(data, epochs=6, batch_size=8, out=tmp_path / "run")
    assert run.summary["metrics"]["val"]["accuracy"] > 0.8
    for number in (1, 2):
        write(tmp_path / "new" / f"{number}.mp4", SHADES[:: 1 if number == 1 else -1])
    predictions = danlu.predict(run, tmp_path / "new", out=tmp_path / "drawn")
    assert [one.label for one in predictions] == ["brighter", "darker"]
    assert len(list((tmp_path / "drawn").iterdir())) == 2
