"""Small files that would take hours or terabytes to read are refused at once, each with a sentence of its own."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from danlu.config import DataConfig, load_yaml
from danlu.config.yaml_text import YamlTooLarge, parse_yaml
from danlu.data.dataset import ImageFiles
from danlu.data.files.text_files import BYTES_PER_MARK, MAX_JSON_RATIO, read_json
from danlu.data.formats import open_dataset
from danlu.data.image_cache import cached_images
from danlu.data.sources.poses.pose_reading import read_json as pose_json
from danlu.refuse import Refusal

MAX_SECONDS = 10.0  # of processor time: a bound, not a measurement; 2 s on an idle core


@contextmanager
def refused_quickly(*words: str) -> Iterator[None]:
    start = time.process_time()
    with pytest.raises(Refusal) as error:
        yield
    assert time.process_time() - start < MAX_SECONDS
    sentence = str(error.value)
    assert len(sentence) < 1000
    assert "--batch-size" not in sentence
    for word in words:
        assert word in sentence


LAUGHS = ", ".join(f"&a{i} [{','.join(['x' if i == 0 else f'*a{i - 1}'] * 9)}]" for i in range(30))
YAML = {
    "flow lists": ("[" * 100_000, "nested"),
    "flow mappings": ("a: {" * 100_000, "nested"),
    "block lists": ("- " * 100_000, "nested"),
    "block mappings": ("\n".join(" " * i + "a:" for i in range(1400)), "nested"),
    "billion laughs": (f"data: {{path: [{LAUGHS}]}}", "aliases"),
    "alias of itself": ("data: &a {path: *a}", "contains itself"),
    "long": ("# comment\n" * 200_000, "MiB"),
}


@pytest.mark.parametrize("name", YAML)
def test_yaml_is_bounded(tmp_path: Path, name: str) -> None:
    text, word = YAML[name]
    (tmp_path / "config.yaml").write_text(text)
    with refused_quickly("config.yaml", word):
        load_yaml(tmp_path / "config.yaml")


def test_yaml_with_ordinary_aliases_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("epochs: &n 3\nregularise: {patience: *n}\n")
    assert load_yaml(tmp_path / "config.yaml").regularise.patience == 3


@pytest.mark.parametrize("loader", [yaml.SafeLoader, yaml.BaseLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize("name", YAML)
def test_yaml_is_bounded_with_every_loader(name: str, loader: type) -> None:
    start = time.process_time()
    with pytest.raises(YamlTooLarge):
        parse_yaml(YAML[name][0], loader)
    assert time.process_time() - start < MAX_SECONDS


def test_no_more_of_a_yaml_file_is_read_than_its_bound() -> None:
    with refused_quickly("/dev/zero"):
        load_yaml("/dev/zero")


JSON = {
    "lists": (b"[" + b"[]," * (60 << 20) + b"[]]", "times its size"),
    "objects": (b"[" + b"{}," * (60 << 20) + b"{}]", "times its size"),
    "more than the memory": (b"[" + b"1," * (20 << 20) + b"1]", "memory are free"),
    "deep": (b"[" * 1_000_000, "nested"),
    "deep objects": (b'{"a":' * 1_000_000, "nested"),
    "digits": (b"[" + b"9" * 100_000 + b"]", "digits"),
}


@pytest.mark.parametrize("name", JSON)
def test_json_is_bounded(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, word = JSON[name]
    if name == "more than the memory":
        monkeypatch.setattr("danlu.data.files.text_files.MAX_VALUE_BYTES", 1 << 20)
        monkeypatch.setattr("danlu.data.files.text_files.free_memory", lambda: 100 << 20)
    (tmp_path / "a.json").write_bytes(content)
    for read in (read_json, lambda path, thing: pose_json(path)):
        with refused_quickly("a.json", word):
            read(tmp_path / "a.json", "a.json")


def test_json_of_annotations_is_within_its_bound() -> None:
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0, "segmentation": [[1, 2] * 9]}
    text = json.dumps([box], separators=(",", ":")).encode()
    assert sum(text.count(mark) * size for mark, size in BYTES_PER_MARK.items()) < MAX_JSON_RATIO * len(text)


def header(shape: tuple[int, ...], kind: str) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})
    return out.getvalue()


@pytest.mark.parametrize("shape", [(10**12,), (10**12, 8, 8), (10**6,) * 4, (2**63, 2**63)])
@pytest.mark.parametrize("kind", ["|u1", "<f8", "<U900"])
def test_npz_with_a_header_of_terabytes(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as file:
        for name in ("x.npy", "y.npy"):
            file.writestr(name, header(shape, kind) + bytes(100))
    with refused_quickly("set.npz", "damaged"):
        open_dataset(DataConfig(path=str(tmp_path / "set.npz")))


def test_npz_that_unpacks_to_much(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", header((70 << 20,), "|u1") + bytes(70 << 20))
    with refused_quickly("set.npz", "unpacks"):
        open_dataset(DataConfig(path=str(tmp_path / "set.npz")))


@pytest.mark.parametrize("name", ["table.csv.gz", "train-images-idx3-ubyte.gz"])
def test_gzip_that_unpacks_to_much(tmp_path: Path, name: str) -> None:
    head = b"a,b\n" if "csv" in name else bytes([0, 0, 8, 3]) + np.array([60_000, 28, 28], ">u4").tobytes()
    (tmp_path / name).write_bytes(gzip.compress(head + bytes(80 << 20), 1))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + np.array([9], ">u4").tobytes() + bytes(9))
    with refused_quickly(name, "unpacks"):
        open_dataset(DataConfig(path=str(tmp_path / name)))


def test_idx_gzip_is_bounded_by_its_header_and_by_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(bytes([0, 0, 8, 1]) + np.array([9], ">u4").tobytes() + bytes(9))
    images = tmp_path / "train-images-idx3-ubyte.gz"
    noise = np.random.default_rng(0).integers(0, 255, 9 * 4096, dtype=np.uint8).tobytes()
    head = bytes([0, 0, 8, 3]) + np.array([9, 64, 64], ">u4").tobytes()
    images.write_bytes(gzip.compress(head + noise + bytes(1 << 20)))
    with refused_quickly("36,880 bytes that its header announces"):
        open_dataset(DataConfig(path=str(images)))
    images.write_bytes(gzip.compress(head + noise))
    labels.write_bytes(labels.read_bytes()[:8] + bytes(range(9)))
    assert len(open_dataset(DataConfig(path=str(images)))) == 9
    monkeypatch.setattr("danlu.data.files.unpacking.free_memory", lambda: 60_000)
    monkeypatch.setattr("danlu.data.files.unpacking.FREE_BYTES", 20_000)
    with refused_quickly("too much to hold in memory"):
        open_dataset(DataConfig(path=str(images)))


def test_masks_of_huge_dimensions_are_problems(tmp_path: Path) -> None:
    for i in range(30):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            pixels = np.zeros((20, 30), np.uint8)
            pixels[4:9, 3 : 8 + i % 9] = 1
            Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")
    bomb = Image.new("1", (16_000, 10_000))
    bomb.save(tmp_path / "masks" / "7.png")
    began = time.process_time()
    data = open_dataset(DataConfig(path=str(tmp_path), format="instance-masks"))
    assert time.process_time() - began < MAX_SECONDS
    assert (len(data), [problem.reason for problem in data.problems]) == (
        29, ["cannot be read: too many pixels for a mask (16000 x 10000)"]
    )  # fmt: skip


@pytest.mark.parametrize("name", ["my set.zip", "my set.tar.gz"])
def test_archives_name_a_command_that_works(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with refused_quickly("unpack it first", f"'{tmp_path / name}'", "'my set'"):
        open_dataset(DataConfig(path=str(tmp_path / name)))


def test_gzip_of_several_members_is_read(tmp_path: Path) -> None:
    rows = [f"{i},{i % 2}\n".encode() for i in range(40)]
    (tmp_path / "table.csv.gz").write_bytes(b"".join(map(gzip.compress, [b"size,label\n", *rows])))
    assert len(open_dataset(DataConfig(path=str(tmp_path / "table.csv.gz"), target="label"))) == 40


ENTITIES = '<!ENTITY a0 "lol">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
XML = {
    "billion laughs": (f"<!DOCTYPE x [{ENTITIES}]><annotation><filename>&a11;</filename></annotation>", "entities"),
    "outside": ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>', "entities"),
    "deep": ("<annotation>" + "<a>" * 100_000, "nested"),
}


@pytest.mark.parametrize("name", XML)
def test_xml_is_bounded(tmp_path: Path, name: str) -> None:
    text, word = XML[name]
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text(text)
    with refused_quickly("a.xml", word):
        open_dataset(DataConfig(path=str(tmp_path)))


def test_pickled_names_nested_deeply(tmp_path: Path) -> None:
    batch = {"data": np.zeros((10, 3072), np.uint8), "labels": list(range(10))}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch))
    (tmp_path / "batches.meta").write_bytes(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
    with refused_quickly("batches.meta", "nested"):
        open_dataset(DataConfig(path=str(tmp_path)))


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(bytes(data))


DAMAGES = {
    "pixel": lambda pixels, problems: flip(pixels, -1),
    "header": lambda pixels, problems: flip(pixels, 20),
    "truncated": lambda pixels, problems: pixels.write_bytes(pixels.read_bytes()[:-10]),
    "empty": lambda pixels, problems: pixels.write_bytes(b""),
    "objects": lambda pixels, problems: np.save(pixels, np.array([{}], dtype=object), allow_pickle=True),
    "another shape": lambda pixels, problems: np.save(pixels, np.zeros((1, 3, 4, 4), np.uint8)),
    "problems": lambda pixels, problems: problems.write_text("[" * 100_000),
    "a problem more": lambda pixels, problems: problems.write_text(
        json.dumps(json.loads(problems.read_text()) | {"problems": [["0.png", "damaged"]]})
    ),
    "no problems": lambda pixels, problems: problems.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_cache_is_made_again(tmp_path: Path, damage: str) -> None:
    paths = tuple(tmp_path / f"{i}.png" for i in range(3))
    for i, path in enumerate(paths):
        Image.new("RGB", (9, 9), (40 * i, 5, 7)).save(path)
    files = ImageFiles(paths, ((9, 9),) * 3, False)
    expected = cached_images(files, 8, "rgb", tmp_path / "cache")[0].clone()
    (pixels,), (problems,) = (list((tmp_path / "cache").glob(pattern)) for pattern in ("*.npy", "*.json"))
    DAMAGES[damage](pixels, problems)
    assert torch.equal(cached_images(files, 8, "rgb", tmp_path / "cache")[0], expected)
    assert torch.equal(torch.from_numpy(np.load(pixels)), expected)
