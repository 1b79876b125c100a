"""Folders and arrays of clips: recognised by their frames, read in order, refused where they are ambiguous."""

import numpy as np
import pytest
import torch
from PIL import Image

from danlu.config import DataConfig
from danlu.data.clips import as_clips, filmstrip, folded, frame_numbers, frames_to_take
from danlu.data.dataset import TEST
from danlu.data.formats import open_dataset, recognise
from danlu.data.sources.named import moving_digits
from danlu.refuse import Refusal

RNG = np.random.default_rng(0)


def write(root, frames=6, clips=3, classes=("left", "right"), pattern="{:04d}.png", still=True):
    """Class folders of clips, each a image of its own with a square that moves; unlike frames where not `still`."""
    for label, name in enumerate(classes):
        for clip in range(clips):
            place = root / name / f"clip{clip}"
            place.mkdir(parents=True)
            scene = RNG.integers(0, 256, (4, 4), np.uint8).repeat(5, 0).repeat(5, 1)
            for t in range(frames):
                image = scene.copy() if still else RNG.integers(0, 256, (4, 4), np.uint8).repeat(5, 0).repeat(5, 1)
                at = t if label else frames - t
                image[8:10, at : at + 2] = t
                Image.fromarray(image).save(place / pattern.format(t + 1))
    return root


def read(path, **settings):
    return open_dataset(DataConfig(path=str(path), **settings))


def test_folder_of_clips_is_recognised_and_read_in_the_order_of_the_numbers(tmp_path):
    data = read(write(tmp_path, frames=12, pattern="frame_{}.png"))  # by name, frame_10 comes before frame_2
    assert (data.format, data.task, data.classes, data.kind) == ("clips", "classify", ("left", "right"), "images")
    assert (data.frames, data.stored_channels) == (12, 1)
    assert data.inputs.shape == (6, 12, 20, 20)
    assert data.targets.tolist() == [0, 0, 0, 1, 1, 1]
    right = data.inputs[3]
    assert [int(right[t, 8, t]) for t in range(12)] == list(range(12))
    assert data.name_of(3) == "right/clip0"
    assert "12 numbered frames" in str(data.seen)


def test_splits_and_frames_of_clips_of_several_lengths(tmp_path):
    write(tmp_path / "train", frames=6)
    write(tmp_path / "test", frames=3, clips=2)
    data = read(tmp_path)
    assert data.given.bincount().tolist() == [6, 0, 4]
    assert {data.name_of(i).split("/")[0] for i in range(10) if data.given[i] == TEST} == {"test"}
    assert data.frames == 6
    assert any("repeated" in note for note in data.notes)
    assert read(tmp_path, frames=2).frames == 2
    with pytest.raises(Refusal, match="frames must be at most 6, the frames of the longest clip"):
        read(tmp_path, frames=7)


def test_numbered_images_that_are_unlike_are_no_clips_unless_named(tmp_path):
    write(tmp_path, still=False)
    with pytest.raises(Refusal, match="--format clips where each inner folder is a clip"):
        read(tmp_path)
    assert read(tmp_path, format="clips").frames == 6
    assert recognise(tmp_path) is None


def test_unreadable_frames_and_other_layouts(tmp_path):
    write(tmp_path, clips=25, frames=3)
    (tmp_path / "left" / "clip0" / "0002.png").write_bytes(b"no image")
    data = read(tmp_path)
    assert len(data) == 49
    assert ("left/clip0", "frame 0002.png: not an image") in [(one.where, one.reason) for one in data.problems]
    for clip in range(1, 6):
        (tmp_path / "left" / f"clip{clip}" / "0001.png").write_bytes(b"")
    with pytest.raises(Refusal, match="6 of 50 clips cannot be used"):
        read(tmp_path, format="clips")
    flat = tmp_path / "flat"
    (flat / "a").mkdir(parents=True)
    Image.new("L", (8, 8)).save(flat / "a" / "1.png")
    with pytest.raises(Refusal, match="folders CLASS/CLIP of numbered frames"):
        read(flat, format="clips")


@pytest.mark.parametrize("axes", [(0, 1, 2, 3, 4), (0, 2, 1, 3, 4), (0, 1, 3, 4, 2)])
def test_arrays_in_every_layout(tmp_path, axes):
    clips = RNG.integers(0, 256, (6, 5, 3, 8, 8), np.uint8)
    np.savez(tmp_path / "c.npz", x=clips.transpose(axes), y=[0, 1] * 3)
    data = read(tmp_path / "c.npz")
    assert data.frames == 5
    assert np.array_equal(data.inputs.numpy().reshape(clips.shape), clips)
    assert read(tmp_path / "c.npz", frames=1).inputs.tolist() == clips[:, 2].tolist()


def test_arrays_of_grey_frames_and_ambiguous_ones(tmp_path):
    grey = RNG.integers(0, 256, (4, 8, 8, 8), np.uint8)
    np.savez(tmp_path / "g.npz", x=grey, y=[0, 1] * 2)
    images = read(tmp_path / "g.npz")
    assert images.frames is None
    assert any("--format clips" in note for note in images.notes)
    assert read(tmp_path / "g.npz", format="clips").frames == 8
    both = RNG.integers(0, 256, (4, 3, 3, 8, 8), np.uint8)
    np.savez(tmp_path / "b.npz", x=both, y=[0, 1] * 2)
    with pytest.raises(Refusal, match="may have its channels in dimension 1 or 2"):
        read(tmp_path / "b.npz")
    assert read(tmp_path / "b.npz", format="clips").frames == 3
    with pytest.raises(Refusal, match="of 1 or 3 channels"):
        as_clips(torch.zeros(2, 4, 5, 8, 8), "x")


def test_frames_that_are_taken():
    assert frame_numbers(8, 8) == list(range(8))
    assert frame_numbers(8, 1) == [4]
    assert frame_numbers(16, 4) == [2, 6, 10, 14]
    assert frame_numbers(2, 4) == [0, 0, 1, 1]
    assert frames_to_take([30, 40, 50], None, "x") == 16
    clip = torch.arange(2 * 4 * 3).view(2, 4, 3, 1, 1)
    assert folded(clip, 2).flatten().tolist() == [3, 4, 5, 9, 10, 11, 15, 16, 17, 21, 22, 23]
    strip = filmstrip(torch.arange(6, dtype=torch.uint8).view(6, 1, 1), 6)
    assert strip.tolist() == [[[0, 128, 1, 128, 2, 128, 3], [128] * 7, [4, 128, 5, 128, 128, 128, 128]]]


def test_moving_digits_show_their_class_by_motion_alone():
    clips, labels = moving_digits.draw(200, seed=3)
    assert torch.equal(clips, moving_digits.draw(200, seed=3)[0])
    assert labels.bincount().tolist() == [25] * 8
    # The torus: a clip moved back by the shift of its class at some speed shows the same image in all frames.
    for clip, label in zip(clips[:20].float(), labels[:20]):
        right, down = list(moving_digits.DIRECTIONS.values())[int(label)]
        errors = [
            (clip[5, 0].roll((-5 * speed * down, -5 * speed * right), (0, 1)) - clip[0, 0]).abs().mean().item()
            for speed in (1, 2, 3)
        ]
        assert min(errors) < 15
        assert sum(error < 15 for error in errors) == 1
    # Whatever the class, the place of the digit in a frame is uniform: no class has a mean image of its own.
    many, label = moving_digits.draw(1600, seed=4)
    for frame in (0, 4, 7):
        means = torch.stack([many[label == k, frame].float().mean((1, 2, 3)).mean() for k in range(8)])
        assert means.std() < 2
