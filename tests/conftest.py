"""Fixtures shared by tests of several rooms: damaged json, and one trained run per kind of data (read-only)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from filelock import FileLock
from PIL import Image
from rich.console import Console

import danlu
from danlu.console.errors import unexpected
from danlu.data.sources.named.shapes import CLASSES, draw
from danlu.engine.saving import StopSignal
from danlu.metrics.detection import run_lengths
from danlu.refuse import Failure
from tests.browser import Browser

QUIET = Console(quiet=True)
os.environ["LC_ALL"] = "C.UTF-8"  # the tests read English, whatever the terminal is set to
os.environ.pop("DANLU_LANG", None)
TESTS = Path(__file__).parent
LONG_FILES = {  # files that take the longest
    "engine/test_resume.py", "engine/test_disk.py", "engine/test_processes.py", "engine/test_kills.py",
    "training/test_folds.py", "training/test_caller_state.py", "inference/test_detect.py", "learning/test_sparse.py",
    "preparation/test_transfer.py", "conversion/test_convert.py", "test_experiments.py",
}  # fmt: skip
COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 70), "red": (200, 50, 40)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start long files first: with `pytest -n`, no process is left alone with one of them at the end."""
    items.sort(key=lambda item: item.path.relative_to(TESTS).as_posix() not in LONG_FILES)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Make a folder once for all processes of `pytest -n`; the other processes wait for it and get the same path."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    done = folder.with_name(f"{name}.done")
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all pages: its start takes longer than a page."""
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def no_internal_errors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which danlu reports an "internal error", whatever the test itself looks at."""
    found: list[str] = []

    def recorded(error: Exception, argv: Sequence[str]) -> Failure:
        failure = unexpected(error, argv)
        if "internal error" in failure.args[0]:  # in English in every language
            found.append(failure.args[0])
        return failure

    monkeypatch.setattr("danlu.cli.unexpected", recorded)
    yield
    assert not found or request.node.get_closest_marker("internal_errors"), found


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """Test accuracy about 0.97 in a second."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    settings = {"model": "mlp", "epochs": 12, "augment": "none", "precision": "fp32", "channels_last": False}
    return danlu.train("digits", out=str(out), device="cpu", console=QUIET, **settings)


@pytest.fixture(scope="session")
def coloured(tmp_path_factory) -> Path:
    """A folder of noisy images per colour, of several sizes."""
    root = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for number in range(24):
            height, width = rng.integers(14, 24, 2)
            noise = rng.normal(0, 25, (height, width, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="session")
def coloured_run(coloured, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "coloured"
    settings = {"model": "small-cnn", "epochs": 4, "size": 16, "lr": 0.01, "batch_size": 16}
    plain = {"precision": "fp32", "channels_last": False, "device": "cpu"}
    return danlu.train(coloured, out=str(out), console=QUIET, **settings, **plain)


@pytest.fixture(scope="session")
def houses(tmp_path_factory) -> Path:
    """A table: price by area and place, with gaps and a column of words."""
    rng = np.random.default_rng(0)
    n = 400
    area = rng.uniform(30, 200, n)
    rooms = rng.integers(1, 7, n).astype(float)
    place = rng.choice(["inland", "near bay", "island"], n)
    price = 2.0 * area + 10 * rooms + pandas.Series(place).map({"inland": 0, "near bay": 80, "island": 160}) + 50
    price += rng.normal(0, 5, n)
    area[rng.random(n) < 0.03] = np.nan
    path = tmp_path_factory.mktemp("houses") / "houses.csv"
    pandas.DataFrame({"area": area, "rooms": rooms, "place": place, "price": price}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def houses_run(houses, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "houses"
    settings = {"model": "linear", "epochs": 40, "target": "price", "device": "cpu"}
    return danlu.train(houses, out=str(out), console=QUIET, **settings)


@pytest.fixture(scope="session")
def drawn_coco(tmp_path_factory) -> Path:
    """Shapes in 40 images that are wider than high, in COCO's form: ids with gaps that no file is called by."""
    return made_once(tmp_path_factory, "drawn", _write_drawn)


def _write_drawn(root: Path) -> None:
    (root / "images").mkdir(parents=True)
    content = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": 3 + 4 * k, "name": name} for k, name in enumerate(CLASSES)]
    images, annotations = draw(40, 64, seed=3)
    for i, (image, one) in enumerate(zip(images, annotations)):
        wide = np.full((64, 90, 3), 127, np.uint8)
        wide[:, 13:77] = image.permute(1, 2, 0)
        Image.fromarray(wide).save(root / "images" / f"{i:04}.png")
        content["images"].append({"id": 500 + 2 * i, "file_name": f"{i:04}.png", "height": 64, "width": 90})
        for box, label, shape in zip(one.boxes.tolist(), one.labels.tolist(), one.shapes):
            mask = np.zeros((64, 90), np.uint8)
            height, width = shape.pixels.shape
            mask[shape.top : shape.top + height, 13 + shape.left : 13 + shape.left + width] = shape.pixels
            runs = {"size": [64, 90], "counts": run_lengths(torch.from_numpy(mask)[None])[0]["counts"].decode()}
            x1, y1, x2, y2 = box
            content["annotations"].append(
                {"id": len(content["annotations"]) + 1, "image_id": 500 + 2 * i, "category_id": 3 + 4 * label}
                | {"bbox": [x1 + 13, y1, x2 - x1, y2 - y1], "area": int(mask.sum()), "iscrowd": 0, "segmentation": runs}
            )
    (root / "annotations.json").write_text(json.dumps(content))


@pytest.fixture(scope="session")
def drawn_run(drawn_coco, tmp_path_factory):
    """A detector that has seen a little: it finds some shapes, and much else."""
    settings = {"size": 96, "epochs": 30, "batch_size": 8, "lr": 0.006, "augment": "none"}
    settings |= {"precision": "fp32", "channels_last": False, "device": "cpu", "doctor.budget": 0.0}

    def train(out: Path) -> None:
        danlu.train(drawn_coco, task="detect", out=str(out), console=QUIET, **settings)

    return danlu.load(made_once(tmp_path_factory, "drawn_run", train))


@pytest.fixture(scope="session")
def mutate() -> Callable[[bytes, np.random.Generator], bytes]:
    """(json, rng) -> the same with one thing wrong."""
    return _mutate


def _mutate(text: bytes, rng: np.random.Generator) -> bytes:
    """A json file with a byte changed, a part cut, doubled or dropped, or a value replaced by an odd one."""
    raw = bytearray(text)
    a, b = sorted(rng.integers(0, len(raw), 2))
    kind = rng.integers(0, 6)
    if kind == 0:
        raw[a] = rng.integers(0, 256)
    elif kind == 1:
        raw = raw[:a]
    elif kind == 2:
        raw = raw[:a] + raw[min(b, a + 30) :]
    elif kind == 3:
        raw = raw[:b] + raw[a:b][:40] + raw[b:]
    else:
        odd = [
            "NaN",
            "-1e999",
            "null",
            '""',
            "[]",
            "{}",
            "true",
            "1" + "0" * 400,
            "-5",
            '"\\u0000"',
            "1e308",
            "[[]]",
            "0",
        ]
        tokens = [i for i, c in enumerate(raw[:-1]) if c in b":[, " and raw[i + 1] in b'0123456789-"[{']
        at = tokens[rng.integers(len(tokens))] + 1
        end = min([i for i in range(at + 1, len(raw)) if raw[i] in b",]}"], default=len(raw))
        raw = raw[:at] + odd[rng.integers(len(odd))].encode() + raw[end:]
    return bytes(raw)


@pytest.fixture(scope="session")
def sigterm_at() -> Callable[[int], AbstractContextManager[None]]:
    """Context manager in which a training gets SIGTERM when it asks for a signal for the n-th time."""

    @contextmanager
    def block(count: int) -> Iterator[None]:
        calls, stop = [], StopSignal.__call__

        def counted(self: StopSignal) -> str | None:
            calls.append(1)
            if len(calls) == count:
                self.handle(15, None)
            return stop(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(StopSignal, "__call__", counted)
            yield

    return block
