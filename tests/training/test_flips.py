"""One byte flipped anywhere in the folder of a run: danlu names the file and the way back, or its results are the same."""

from __future__ import annotations

import io
import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import danlu
from danlu.engine.checkpoint import read_weights
from danlu.engine.saving import Interrupted
from danlu.printing.edited import print_if_edited
from danlu.refuse import Refusal
from danlu.report.run_report import write_page
from danlu.run.folder import Run

SETTINGS = {
    "model": "linear",
    "epochs": 3,
    "size": 12,
    "device": "cpu",
    "save_every": 1e-9,
    "log_every": 2,
    "batch_size": 16,
    "keep_state": True,
    "save_path": 2,
}
TIMED = {"seconds", "samples_per_second", "timings", "run", "findings"}
# Of a training: the doctor measures as many steps as its time budget allows.
TIME_DEPENDENT = {"findings"}
WAY_BACK = re.compile(
    r"put the file back|goes back to|train it again|use --weights|remove it|set it back|delete|did you mean|choose from"
    r"|must be|config\.yaml was edited|was edited since"
)
SHORT, LONG = 24, 200  # flips


def write_images(folder: Path) -> None:
    noise = np.random.default_rng(0)
    for kind, level in {"dark": 60, "light": 170}.items():
        (folder / kind).mkdir(parents=True)
        for number in range(40):
            pixels = noise.normal(level, 40, (12, 12, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sigterm_at: Any) -> Path:
    """A finished run, one that a signal stopped in its second epoch, and the cache of their images."""
    home = tmp_path_factory.mktemp("flips")
    write_images(home / "images")
    settings = SETTINGS | {"data.cache": str(home / "cache"), "data.memory": False}
    quiet = Console(quiet=True)
    first = danlu.train(str(home / "images"), out=home / "first", console=quiet, **settings)
    danlu.train(str(home / "images"), out=home / "finished", init=str(first.folder), console=quiet, **settings)
    with sigterm_at(6), pytest.raises(Interrupted):
        danlu.train(str(home / "images"), out=home / "unfinished", init=str(first.folder), console=quiet, **settings)
    return home


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def plain(value: Any) -> Any:
    """JSON without what differs from run to run."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in TIMED}
    return [plain(one) for one in value] if isinstance(value, list) else value


def results(run: Run) -> dict[str, Any]:
    """Texts without times, weights, predictions, an evaluation and the settings of a finished run."""
    loaded, last = danlu.load(run.folder), danlu.load(run.folder, "last")
    image = np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)
    texts = {name: plain(run.read_json(name, default={})) for name in ("summary.json", "environment.json")}
    return {
        **texts,
        "findings": plain(list(run.findings)),
        "rows": [plain(row) for row in run.record.rows],
        "weights": [{k: v.tolist() for k, v in one.model.state_dict().items()} for one in (loaded, last)],
        "path": [path.read_bytes() for path in run.snapshots().values()],
        "prediction": plain(loaded.predict(image)[0].to_json()),
        "evaluation": plain(loaded.evaluate(part="val").metrics.to_json()),
        "config": loaded.config,
    }


def use(run: Run, console: Console) -> dict[str, Any]:
    """Report a run, resume it, and use it."""
    print_if_edited(console, run)
    page = write_page(run.folder).read_text()
    danlu.train(resume=run.folder, console=console)
    for snapshot in run.snapshots().values():
        read_weights(snapshot)
    return results(run) | {"page": page}


def outcome(home: Path, place: Path, finished: bool, name: str, flips: random.Random, whole: dict[str, Any]) -> str:
    """Flip one byte of a file and use the run: "noticed", "harmless", or what is wrong."""
    source = home / ("finished" if finished else "unfinished")
    shutil.rmtree(place, ignore_errors=True)
    run = Run.open(shutil.copytree(source, place))
    cached = name.startswith("cache/")
    path = home / name if cached else run.folder / name
    kept = path.read_bytes()
    content = bytearray(kept)
    at, bits = flips.randrange(len(content)), flips.randrange(1, 256)
    content[at] ^= bits
    path.write_bytes(content)
    text = io.StringIO()
    told = ""
    try:
        found = use(run, Console(file=text, width=10_000))
    except Refusal as refused:
        told, found = str(refused), None
    except Exception as error:
        return f"{name} byte {at} ^ {bits}: {type(error).__name__}: {error}"
    finally:
        if cached:
            path.write_bytes(kept)
    told = " ".join((text.getvalue() + told).split())
    if path.name in told and WAY_BACK.search(told) and (found is None or name == "config.yaml"):
        return "noticed"
    if found is None:
        return f"{name} byte {at} ^ {bits}: the sentence has no file or no way back: {told}"
    other = [key for key in whole if found[key] != whole[key] and (finished or key not in TIME_DEPENDENT)]
    return f"{name} byte {at} ^ {bits}: other {', '.join(other)}" if other else "harmless"


def attack(home: Path, place: Path, count: int, seed: int) -> Counter[str]:
    """Flip `count` bytes, the same number in each file of both runs and of the cache; count the outcomes."""
    flips, outcomes = random.Random(seed), Counter[str]()
    wholes = {}
    for finished in (True, False):
        shutil.rmtree(place, ignore_errors=True)
        run = Run.open(shutil.copytree(home / ("finished" if finished else "unfinished"), place))
        wholes[finished] = use(run, Console(quiet=True))
    targets = [(True, name) for name in files(home / "finished")]
    targets += [(False, name) for name in files(home / "unfinished")]
    targets += [(False, f"cache/{name}") for name in files(home / "cache")]
    targets = [(finished, name) for finished, name in targets if not name.endswith(".lock")]
    for number in range(count):
        finished, name = targets[number % len(targets)]
        outcomes[outcome(home, place, finished, name, flips, wholes[finished])] += 1
    return outcomes


def test_flipped_bytes_are_noticed_or_harmless(home: Path, tmp_path: Path) -> None:
    outcomes = attack(home, tmp_path / "run", SHORT, seed=1)
    assert outcomes.keys() <= {"noticed", "harmless"}, outcomes
    assert outcomes["noticed"] > SHORT / 3


@pytest.mark.slow
def test_200_flipped_bytes_are_noticed_or_harmless(home: Path, tmp_path: Path) -> None:
    outcomes = attack(home, tmp_path / "run", LONG, seed=0)
    print(dict(outcomes))
    assert outcomes.keys() <= {"noticed", "harmless"}, outcomes
    assert outcomes["noticed"] > LONG / 3
