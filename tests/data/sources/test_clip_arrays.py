"""Class folders of one .npy array per clip."""

import numpy as np
import pytest

import danlu
from danlu.config import DataConfig
from danlu.data.dataset import TEST
from danlu.data.formats import open_dataset, recognise
from danlu.refuse import Refusal

RNG = np.random.default_rng(0)


def write(root, shape=(5, 12, 16), clips=10, classes=("left", "right"), dtype=np.uint8):
    """Clips of noise with a mark whose place says the frame."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(clips):
            clip = RNG.integers(0, 100, shape).astype(dtype)
            for t in range(len(clip)):
                clip[t, 4:8, 4:8] = 200 if label else 10 * t
            np.save(root / name / f"{number}.npy", clip)
    return root


def read(path, **settings):
    return open_dataset(DataConfig(path=str(path), **settings))


@pytest.mark.parametrize(("shape", "channels"), [((5, 12, 16), 1), ((5, 12, 16, 3), 3)])
def test_frames_are_read_in_their_order(shape, channels, tmp_path):
    data = read(write(tmp_path, shape))
    assert (data.format, data.task, data.classes) == ("clip arrays", "classify", ("left", "right"))
    assert (data.frames, data.stored_channels) == (5, channels)
    assert data.inputs.shape == (20, 5 * channels, 12, 12)
    assert data.targets.tolist() == [0] * 10 + [1] * 10
    marks = data.inputs[0].unflatten(0, (5, channels))[:, :, 5, 4]
    assert marks.tolist() == [[10 * t] * channels for t in range(5)], "the centre square begins at column 2"
    assert data.name_of(10) == "right/0.npy"


def test_splits_lengths_and_ranges(tmp_path):
    write(tmp_path / "train")
    write(tmp_path / "test", (3, 20, 12), clips=2)
    data = read(tmp_path, size=8)
    assert data.given.bincount().tolist() == [20, 0, 4]
    assert {data.name_of(i).split("/")[0] for i in range(24) if data.given[i] == TEST} == {"test"}
    assert data.inputs.shape == (24, 5, 8, 8)
    assert any("repeated" in note for note in data.notes)
    for split in ("train", "test"):
        for file in (tmp_path / split).rglob("*.npy"):
            np.save(file, (np.load(file) / 255).astype(np.float32))
    assert (read(tmp_path, size=8).inputs == data.inputs).all(), "numbers in [0, 1]"


def test_damaged_arrays_are_problems_and_others_are_refused(tmp_path):
    write(tmp_path, clips=30)
    file = tmp_path / "left" / "3.npy"
    file.write_bytes(file.read_bytes()[:-50])
    data = read(tmp_path)
    assert [one.where for one in data.problems] == ["left/3.npy"]
    assert len(data) == 59
    np.save(file, np.full((5, 12, 16), 300.0))
    with pytest.raises(Refusal, match=r"must be in \[0, 1\] or \[0, 255\], got values from 0 to 300"):
        read(tmp_path)
    np.save(file, np.zeros((3, 12, 16, 3), np.uint8))
    with pytest.raises(Refusal, match="may have its channels in dimension"):
        read(tmp_path)


def test_arrays_of_images_are_no_clips(tmp_path):
    write(tmp_path, (12, 16, 3))
    assert recognise(tmp_path) != "clip arrays"


def test_a_folder_of_arrays_is_trained_and_predicted(tmp_path):
    data = write(tmp_path / "data", (4, 16, 16))
    settings = {"epochs": 1, "batch_size": 8, "device": "cpu", "precision": "fp32", "doctor.budget": 0}
    run = danlu.train(str(data), out=str(tmp_path / "run"), model="small-cnn", **settings)
    assert run.signature.input_shape == [4, 1, 16, 16]
    found = run.predict(str(data / "right"))
    assert [one.path.rpartition("/")[2] for one in found[:3]] == ["0.npy", "1.npy", "2.npy"]
    alone = run.predict(str(data / "right" / "1.npy"))[0]
    assert alone.probabilities == pytest.approx(found[1].probabilities, abs=1e-5)
