"""Image files of every kind, written by PIL, are read upright with the right pixels."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from danlu.data import image_cache, image_workers
from danlu.data.dataset import ImageFiles
from danlu.data.files.image_file import check_image
from danlu.data.image_cache import cached_images
from danlu.data.image_workers import load_images
from danlu.data.images import decode, read_image
from danlu.data.partial_file import partial_file
from danlu.refuse import Refusal


def scene(height=40, width=60) -> np.ndarray:
    """A smooth image, different in every corner, uint8 (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 / width, y * 255 / height, 255 - x * 255 / width], -1).astype(np.uint8)


def test_grey_rgb_and_palette(tmp_path):
    array = scene()
    Image.fromarray(array).save(tmp_path / "rgb.png")
    Image.fromarray(array[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(array).quantize(64).save(tmp_path / "palette.png")
    assert np.array_equal(np.asarray(decode(tmp_path / "rgb.png")), array)
    assert np.array_equal(np.asarray(decode(tmp_path / "grey.png", "grey")), array[..., 0])
    assert np.array_equal(np.asarray(decode(tmp_path / "grey.png"))[..., 2], array[..., 0])
    close = np.asarray(decode(tmp_path / "palette.png")).astype(int) - array
    assert np.abs(close).mean() < 20
    assert check_image(tmp_path / "grey.png")[:4] == (40, 60, True, True)
    assert check_image(tmp_path / "palette.png")[:4] == (40, 60, False, True)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_turn_white(tmp_path, mode):
    image = Image.fromarray(scene()).convert(mode)
    alpha = np.full((40, 60), 255, np.uint8)
    alpha[:, :20], alpha[:, 20:40] = 0, 128
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    pixels = np.asarray(decode(tmp_path / "a.png")).astype(int)
    solid = np.asarray(Image.fromarray(scene()).convert("L" if mode == "LA" else "RGB").convert("RGB")).astype(int)
    assert (pixels[:, :20] == 255).all()
    assert np.abs(pixels[:, 20:40] - (solid[:, 20:40] * 128 + 255 * 127) / 255).max() <= 1
    assert np.array_equal(pixels[:, 40:], solid[:, 40:])


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 1), 1)
    image.save(tmp_path / "p.png", transparency=0)
    pixels = np.asarray(decode(tmp_path / "p.png"))
    assert tuple(pixels[0, 0]) == (255, 255, 255)
    assert tuple(pixels[1, 1]) == (0, 0, 255)


def test_cmyk_jpeg(tmp_path):
    image = Image.new("RGB", (32, 32), (200, 30, 60))
    image.convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    assert np.abs(np.asarray(decode(tmp_path / "c.jpg")).astype(int) - [200, 30, 60]).max() < 6
    assert read_image(tmp_path / "c.jpg", 8, "grey").shape == (1, 8, 8)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, name):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(levels * 257).save(tmp_path / name)
    assert np.array_equal(np.asarray(decode(tmp_path / name, "grey")), levels)
    assert check_image(tmp_path / name)[:4] == (16, 16, True, True)


def test_float_tiff(tmp_path):
    Image.fromarray(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)).save(tmp_path / "f.tif")
    assert np.array_equal(np.asarray(decode(tmp_path / "f.tif", "grey")).ravel(), np.arange(256))
    Image.fromarray(np.full((4, 4), -3, np.float32)).save(tmp_path / "g.tif")
    with pytest.raises(ValueError, match="fit neither"):
        decode(tmp_path / "g.tif")


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert tuple(np.asarray(decode(tmp_path / "a.gif"))[4, 4]) == (255, 0, 0)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"o{suffix}"
    Image.fromarray(scene()).save(path, exif=exif, **({"quality": 95} if suffix != ".tif" else {}))
    with Image.open(path) as image:
        image.load()
        want = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(np.asarray(decode(path)), want)
    for whole in (True, False):
        info = check_image(path, decode=whole)
        assert (info.height, info.width) == want.shape[:2] == ((40, 60) if orientation < 5 else (60, 40))


def test_resize_shorter_side_then_central_crop():
    array = scene(48, 100)
    want = Image.fromarray(array).resize((50, 24), Image.Resampling.BILINEAR)
    want = np.asarray(want.crop((13, 0, 37, 24))).transpose(2, 0, 1)
    assert np.abs(read_image(array, 24).astype(int) - want).max() <= 3
    assert np.array_equal(read_image(array[:, :48], 48), array[:, :48].transpose(2, 0, 1))
    assert read_image(array, 96).shape == (3, 96, 96)


def test_scaled_jpeg_decoding_changes_little(tmp_path):
    array = scene(600, 900)
    Image.fromarray(array).save(tmp_path / "big.jpg", quality=95)
    assert decode(tmp_path / "big.jpg", min_side=32).size[1] < 600  # fewer pixels were decoded
    assert np.abs(read_image(tmp_path / "big.jpg", 32).astype(int) - read_image(array, 32)).max() <= 4


def test_arrays():
    array = scene()
    for same in (array, array.transpose(2, 0, 1), array / np.float32(255)):
        assert np.array_equal(np.asarray(decode(same)), array)
    assert np.array_equal(np.asarray(decode(Image.fromarray(array))), array)
    for wrong in (np.zeros((3,), np.uint8), np.zeros((5, 5, 7), np.uint8), np.full((4, 4), np.nan)):
        with pytest.raises(ValueError):
            decode(wrong)


def broken(folder):
    """Files that cannot be used, with the word that the reason must hold."""
    good = folder / "good.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(good)
    (folder / "cut.jpg").write_bytes(good.read_bytes()[:2000])
    Image.open(good).save(folder / "good.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:6000])
    (folder / "zero.jpg").touch()
    (folder / "text.jpg").write_text("not an image at all")
    (folder / "code.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")
    return {"cut.jpg": "truncated", "cut.png": "truncated", "zero.jpg": "empty", "text.jpg": "not an image"} | {
        "gone.jpg": "no such file",
        "code.eps": "not an image",
    }


@pytest.mark.parametrize("whole", [True, False])
def test_reasons(tmp_path, whole):
    for name, word in broken(tmp_path).items():
        assert word in check_image(tmp_path / name, decode=whole), name


def test_wrong_extension_is_read_by_content(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.png", format="JPEG")
    assert check_image(tmp_path / "a.png")[:4] == (40, 60, False, False)


def test_bomb_is_refused(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert "too many pixels" in check_image(tmp_path / "a.png")


def test_load_in_order_with_problems(tmp_path):
    broken(tmp_path)
    paths = []
    for i in range(6):
        Image.new("L", (10, 12), 40 * i).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    paths.insert(2, tmp_path / "zero.jpg")
    pixels, problems = load_images(paths, 8, "grey", workers=0)
    assert pixels.shape == (7, 1, 8, 8)
    assert pixels[:, 0, 0, 0].tolist() == [0, 40, 0, 80, 120, 160, 200]
    assert [(p.where, p.reason) for p in problems] == [(str(tmp_path / "zero.jpg"), "not an image")]


def test_processes_give_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(image_workers, "MIN_IMAGES_FOR_WORKERS", 2)
    monkeypatch.setattr(image_workers, "CHUNK", 3)
    paths = []
    for i in range(20):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (9, 9, 3), np.uint8)).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    paths.append(tmp_path / "gone.png")
    alone, pooled = load_images(paths, 9, "rgb", workers=0), load_images(paths, 9, "rgb", workers=2)
    assert torch.equal(alone[0], pooled[0])
    assert alone[1] == pooled[1]
    assert len(pooled[1]) == 1


def test_cache_is_reused_and_follows_the_files(tmp_path, monkeypatch):
    paths = tuple(tmp_path / f"{i}.png" for i in range(3))
    for i, path in enumerate(paths):
        Image.new("L", (8, 8), 10 * i).save(path)
    files = ImageFiles(paths, ((8, 8),) * 3, True)
    first, _ = cached_images(files, 4, "grey", tmp_path / "cache", 0)
    assert torch.equal(first, load_images(paths, 4, "grey", 0)[0])
    kept = sorted(p.name for p in (tmp_path / "cache").iterdir())
    assert len(kept) == 2  # the pixels and their problems, no temporary file
    first += 1  # a private copy: the file is not written to
    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "decoded_images", None)  # decoding again would fail
        again, _ = cached_images(files, 4, "grey", tmp_path / "cache", 0)
    assert again[:, 0, 0, 0].tolist() == [0, 10, 20]
    Image.new("L", (8, 9), 99).save(paths[0])
    changed, _ = cached_images(files, 4, "grey", tmp_path / "cache", 0)
    assert changed[0, 0, 0, 0] == 99


WRITING = """
import os, signal, sys
from pathlib import Path
from danlu.data.partial_file import partial_file

with partial_file(Path(sys.argv[1]) / sys.argv[2]) as file:
    file.write(b"half")
    file.flush()
    if os.fork() == 0:  # as a worker that decodes, it outlives its parent for a moment
        sys.stdin.readline()
        os._exit(0)
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal")
def test_the_half_cache_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(tmp_path):
    started = []
    for name in ("dead.npy", "living.npy"):
        words = [sys.executable, "-c", WRITING, str(tmp_path), name]
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert started[-1].stdout.readline() == b"ready\n"
    dead, living = started
    dead.kill()
    dead.wait()
    with partial_file(tmp_path / "new.npy") as file:
        file.write(b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"living.npy.{living.pid}.tmp", "new.npy"]
    dead.stdin.close()
    living.communicate(b"\n\n")
    assert (tmp_path / "living.npy").read_bytes() == b"half"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["living.npy", "new.npy"]


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Refusal, match="cache"):
        cached_images(ImageFiles((), (), True), 4, "grey", tmp_path / "file" / "cache", 0)


KILLED = """
import os, signal, sys, time
from danlu.data import image_workers as images

def work(paths):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece: the lines of two processes must not mix
    time.sleep(60)

images.CHUNK = 1
images.threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGKILL)).start()
list(images._in_order(work, [1, 2, 3, 4], 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_workers_end_with_a_parent_that_is_killed():
    done = subprocess.run([sys.executable, "-c", KILLED, "2"], stdout=subprocess.PIPE, check=False, timeout=50)
    assert done.returncode == -signal.SIGKILL
    workers = [Path(f"/proc/{number}/stat") for number in done.stdout.decode().split()]
    assert len(workers) == 2
    ended = lambda: all(not one.exists() or one.read_text().split()[2] == "Z" for one in workers)  # noqa: E731
    deadline = time.monotonic() + 20
    while not ended() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ended()


def test_no_more_workers_than_tasks(monkeypatch):
    monkeypatch.setattr(image_workers, "MIN_IMAGES_FOR_WORKERS", 2)
    assert image_workers._workers(600, 50_000) == 3
