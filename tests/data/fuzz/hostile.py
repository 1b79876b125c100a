"""Damage and hostility for files of every format: what they hold, where they lead, and what they claim."""

from __future__ import annotations

import gc
import json
import os
import pickle
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
from image_formats import IMAGE_FORMATS
from object_formats import OBJECT_FORMATS
from PIL import Image
from truth import random_plan

from danlu.config import DataConfig
from danlu.data.canvas import Placement
from danlu.data.dataset import Dataset, ImageFiles
from danlu.data.formats import open_dataset
from danlu.data.image_workers import load_images
from danlu.refuse import Failure, Refusal

MAX_SECONDS = 10.0  # of processor time: a bound, not a measurement; the slowest set takes 0.9 s on an idle core
MAX_BYTES = 1 << 30
MAX_SENTENCE = 2_000  # characters
WORDS = ("kitti", "dota")
ODD = (
    b"NaN", b"-1e999", b"null", b'""', b"[]", b"{}", b"true", b"9" * 5000, b"-5", b'"\\u0000"', b"1e308", b"0",
    b"[" * 100_000, b'{"a":' * 50_000, b"<a>" * 50_000, b"\x1b]0;owned\x07", b"\xff\xfe\xfd", b'"[/x]"', b"=1+1",
    b'"' + b"x" * 5000 + b'"', b"99999999999999999999", b"1" + b",1" * 100_000,
)  # fmt: skip


@dataclass
class Outcome:
    """The result of one trial. wrong: a sentence, empty if all is well."""

    name: str
    read: bool
    seconds: float
    mib: float
    wrong: str = ""


# --- sets in the formats that `object_formats.py` and `image_formats.py` do not write ----------------------------------


def write_table(root: Path, rng: random.Random) -> None:
    rows = [f"{i % 7},{rng.random():.3f},{'yes' if i % 2 else 'no'}" for i in range(40)]
    (root / "table.csv").write_text("\n".join(["size,weight,label", *rows]) + "\n")


def write_parquet(root: Path, rng: random.Random) -> None:
    frame = {"size": [rng.random() for _ in range(40)], "label": ["yes", "no"] * 20}
    pandas.DataFrame(frame).to_parquet(root / "table.parquet")


def write_npz(root: Path, rng: random.Random) -> None:
    pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    np.savez_compressed(root / "set.npz", x=pixels, y=np.arange(12) % 2)


def write_idx(root: Path, rng: random.Random) -> None:
    pixels = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    head = bytes([0, 0, 8, 3]) + np.array([12, 8, 8], ">u4").tobytes()
    (root / "train-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
    labels = bytes([0, 0, 8, 1]) + np.array([12], ">u4").tobytes() + bytes(i % 3 for i in range(12))
    (root / "train-labels-idx1-ubyte").write_bytes(labels)


def write_cifar(root: Path, rng: random.Random) -> None:
    batch = {"data": np.zeros((10, 3072), np.uint8), "labels": list(range(10))}
    (root / "data_batch_1").write_bytes(pickle.dumps(batch))
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"c{i}" for i in range(10)]}))


def write_label_masks(root: Path, rng: random.Random) -> None:
    noise = np.random.default_rng(rng.getrandbits(32))
    for folder, high, shape in (("images", 256, (16, 20, 3)), ("masks", 3, (16, 20))):
        (root / folder).mkdir()
        for i in range(8):
            Image.fromarray(noise.integers(0, high, shape, dtype=np.uint8)).save(root / folder / f"{i}.png")


def write_poses(root: Path, rng: random.Random) -> None:
    """A scene of the BOP form with one model."""
    scene, models = root / "test" / "000001", root / "models"
    (scene / "rgb").mkdir(parents=True), models.mkdir()
    noise = np.random.default_rng(rng.getrandbits(32))
    names = range(3)
    for i in names:
        Image.fromarray(noise.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(scene / "rgb" / f"{i:06d}.png")
    pose = {"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [0, 0, 500], "obj_id": 1}
    camera = {"cam_K": [100, 0, 32, 0, 100, 24, 0, 0, 1], "depth_scale": 1.0}
    seen = {"bbox_visib": [20, 15, 20, 20], "visib_fract": 1.0}
    contents = {"gt": [pose], "camera": camera, "gt_info": [seen]}
    for name, content in contents.items():
        (scene / f"scene_{name}.json").write_text(json.dumps(dict.fromkeys(names, content)))
    corners = [(x, y, z) for x in (-50, 50) for y in (-40, 40) for z in (-30, 30)]
    head = "ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    rows = [" ".join(map(str, corner)) for corner in corners] + ["3 0 1 2", "3 1 2 3"]
    (models / "obj_000001.ply").write_text(head + "\n".join(rows) + "\n")
    (models / "models_info.json").write_text(json.dumps({"1": {"diameter": 141.4}}))


OTHER_FORMATS: dict[str, Callable[[Path, random.Random], None]] = {
    "csv": write_table,
    "parquet": write_parquet,
    "npz": write_npz,
    "idx": write_idx,
    "cifar": write_cifar,
    "label masks": write_label_masks,
    "bop": write_poses,
}
FORMATS = (*OBJECT_FORMATS, *IMAGE_FORMATS, *OTHER_FORMATS)


def write_set(form: str, root: Path, rng: random.Random) -> None:
    """Write a small set in one format."""
    if form in OTHER_FORMATS:
        OTHER_FORMATS[form](root, rng)
        return
    plan = random_plan(rng, form in IMAGE_FORMATS, True, form in WORDS)
    (OBJECT_FORMATS | IMAGE_FORMATS)[form](plan, root)


# --- mutations ------------------------------------------------------------------------------------------------------


def flip_bytes(file: Path, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 3, 30))):
        data[rng.randrange(len(data))] ^= rng.randrange(1, 256)
    file.write_bytes(data)


def cut(file: Path, rng: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: rng.randrange(len(data))])


def insert_odd(file: Path, rng: random.Random) -> None:
    """Replace a value, or what lies behind a separator, by something odd."""
    data = file.read_bytes()
    places = [i for i, c in enumerate(data[:-1]) if c in b':[," >=\n'] or [0]
    at = rng.choice(places) + 1
    end = min((i for i in range(at + 1, len(data)) if data[i] in b',]}"< \n'), default=len(data))
    file.write_bytes(data[:at] + rng.choice(ODD) + data[end:])


def lead_outside(file: Path, rng: random.Random) -> None:
    """Replace a name of a file inside the set by a path that leads out of it."""
    data, root = file.read_bytes(), file
    while not (root / "outside.png").exists():
        root = root.parent
    target = rng.choice((b"../outside.png", b"../../outside.png", os.fsencode(root / "outside.png"), b"/etc/passwd"))
    names = [os.fsencode(path.name) for path in file.parent.rglob("*.*") if path.is_file()]
    names += [os.fsencode(path.name) for path in file.parent.parent.rglob("*.*") if path.is_file()]
    inside = [name for name in names if name in data]
    if inside:
        file.write_bytes(data.replace(rng.choice(inside), target))
    else:
        insert_odd(file, rng)


def become_link(file: Path, rng: random.Random) -> None:
    root = file.parent
    while not (root / "outside.png").exists():
        root = root.parent
    target = rng.choice((root / "outside.png", file, Path("/dev/zero"), Path("/etc/passwd"), Path("/proc/self/mem")))
    file.unlink()
    file.symlink_to(target)


def become_pipe(file: Path, rng: random.Random) -> None:
    file.unlink()
    os.mkfifo(file)


def double(file: Path, rng: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data * rng.choice((2, 50)))


MUTATIONS = (
    flip_bytes,
    flip_bytes,
    cut,
    insert_odd,
    insert_odd,
    insert_odd,
    lead_outside,
    become_link,
    become_pipe,
    double,
)


def mutate(root: Path, rng: random.Random) -> str:
    """Change one or two files of a set, annotations more often than images; what was done."""
    done = []
    for _ in range(rng.choice((1, 1, 2))):
        files = sorted(
            path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_size
        )
        texts = [file for file in files if file.suffix.lower() not in (".png", ".jpg", ".jpeg")]
        file = rng.choice(texts if texts and rng.random() < 0.8 else files)
        change = rng.choice(MUTATIONS)
        change(file, rng)
        done.append(f"{change.__name__} {file.relative_to(root)}")
    return ", ".join(done)


# --- one trial --------------------------------------------------------------------------------------------------------


def read_all(root: Path, form: str | None = None) -> Dataset:
    """Read a set and everything in it: its images, and the masks of its first objects."""
    data = open_dataset(DataConfig(path=str(root), on_bad="skip", format=form))
    if isinstance(data.inputs, ImageFiles):
        for path in data.inputs.paths:
            if not path.resolve().is_relative_to(root.resolve()):
                raise AssertionError(f"{path} lies outside of the set")
        load_images(data.inputs.paths, 8, "rgb", workers=0)
    for i in range(min(4, len(data))):
        one = data.targets[i]
        if getattr(one, "shapes", None) is not None:
            one.masks(Placement(one.size, (32, 32), (32 / max(1, one.size[1]), 32 / max(1, one.size[0])), (0.0, 0.0)))
    return data


def attempt(name: str, root: Path, form: str | None = None) -> Outcome:
    """Read a set in a process of its own, which watches what it opens, its time and its memory."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            text = json.dumps(_attempt(root, form))
        except BaseException:
            text = json.dumps([False, 0.0, 0.0, traceback.format_exc()[-900:]])
        os.write(writer, text.encode()[:60_000])
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    os.waitpid(pid, 0)
    return Outcome(name, *(json.loads(answer) if answer else (False, 0.0, 0.0, "the process died")))


def _attempt(root: Path, form: str | None) -> tuple[bool, float, float, str]:
    opened: list[str] = []
    outside = (str(root.parent / "outside.png"), "/etc/passwd", "/dev/zero", "/proc/self/mem")

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if path in outside:
                opened.append(path)

    sys.addaudithook(watch)
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    gc.freeze()  # a collection would copy every page of the parent, and count it
    before, began, wrong, read = _peak(), time.process_time(), "", False
    try:
        read_all(root, form)
        read = True
    except (Refusal, Failure) as refusal:
        sentence = str(refusal)
        if "--batch-size" in sentence or len(sentence) > MAX_SENTENCE or "Traceback" in sentence:
            wrong = f"no fitting sentence: {sentence[:300]}"
    except BaseException:
        wrong = traceback.format_exc()[-900:]
    seconds, grown = time.process_time() - began, _peak() - before
    if opened:
        wrong = wrong or f"opened {opened[0]}"
    if seconds > MAX_SECONDS:
        wrong = wrong or f"took {seconds:.1f} s"
    if grown > MAX_BYTES:
        wrong = wrong or f"took {grown >> 20} MiB"
    return read, seconds, grown / 2**20, wrong


def _peak() -> int:
    """Peak memory of this process in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def mutated(seed: int, folder: Path) -> Outcome:
    """Write, change and read one set."""
    rng = random.Random(f"hostile {seed}")
    form = FORMATS[seed % len(FORMATS)]
    root = folder / str(seed) / "set"
    root.mkdir(parents=True)
    write_set(form, root, rng)
    Image.new("RGB", (40, 30), (200, 10, 10)).save(root.parent / "outside.png")
    return attempt(f"seed {seed}, {form}: {mutate(root, rng)}", root)
