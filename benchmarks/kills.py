"""Kill danlu by SIGKILL at random moments, resume it, and compare its results with those of an undisturbed run.

python benchmarks/kills.py [--kind classify ...] [--trials 20] [--seed 0] [--folder DIR]

A trial is repeatable by its seed up to the speed of the machine. It passes if every command after a kill is accepted at
once, the last one ends with exit code 0, weights and metrics have the same bits as without kills, the report is there,
the folder holds the same files as without kills, and no process of a killed command lives longer than ORPHAN_SECONDS.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shlex
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

MAX_KILLS = 4  # per trial
ORPHAN_SECONDS = 60.0  # a process that is importing torch ends after it: 4 s, or much more on a busy machine
TIMED = ("seconds", "samples_per_second")  # fields of metrics.jsonl that differ from run to run
COMPARED = ("metrics", "epochs", "best_epoch", "test_looks", "evaluation", "fold_mean", "fold_std")  # of summary.json
PLAIN = "--precision fp32 --channels-last false --device cpu --save-every 1e-9"  # a checkpoint after every step
COMMANDS = {
    "small": f"train digits --model softmax --epochs 2 --data.limit 100 {PLAIN}",  # for the tests
    "classify": f"train digits --model small-cnn --epochs 3 --data.limit 64 --batch-size 32 --optim.ema 0.9 {PLAIN}",
    "detect": f"train {{objects}} --task detect --size 64 --epochs 2 --val 4 --test 4 --batch-size 4 {PLAIN}",
    "folds": f"train digits --model mlp --folds 3 --refit all --epochs 2 --test 0.2 --data.limit 256 {PLAIN}",
    "processes": f"train digits --model mlp --devices 2 --epochs 2 --data.limit 128 --batch-size 32 {PLAIN}",
    "heal": f"train digits --model softmax --lr 1e-6 --epochs 2 --data.limit 200 --schedule constant {PLAIN}",
}
HEAL = "--heal --seeds 2 --budget 6"
CONTEXT = multiprocessing.get_context("forkserver")  # a fresh process in milliseconds: the server has imported torch
PRELOADED = ("danlu.cli", "danlu.console.commands", "lightning_fabric", "torch._dynamo", "torch._inductor.config")
CONTEXT.set_forkserver_preload([*PRELOADED, "sklearn.datasets", "plotly.graph_objects", "plotly.offline"])


@dataclass
class Trial:
    """Outcome of one trial. kills: that came before the command had ended. faults: sentences, empty if all is well."""

    kind: str
    seed: int
    kills: int = 0
    faults: list[str] = field(default_factory=list)


def start(words: list[str], log: Path) -> multiprocessing.process.BaseProcess:
    """Start `danlu WORDS...` in a process group of its own."""
    process = CONTEXT.Process(target=_main, args=(words, str(log)))
    process.start()
    return process


def _main(words: list[str], log: str) -> None:
    os.setpgid(0, 0)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1), os.dup2(out, 2)
    from danlu.cli import main

    raise SystemExit(main(words))


def orphans(group: int, seconds: float) -> list[int]:
    """Processes of a group that are still alive after this number of seconds."""
    end = time.monotonic() + seconds
    while True:
        alive = [pid for pid in _processes() if _group_of(pid) == group]
        if not alive or time.monotonic() > end:
            return alive
        time.sleep(0.02)


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _group_of(pid: int) -> int | None:
    """Process group of a process; None for one that has ended."""
    try:
        state, _, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return None
    return None if state in "ZX" else int(group)


def result(run: Path) -> dict[str, object]:
    """Results that are compared bit for bit: hashes of all weights, rows of all metrics, figures of the summary."""
    weights = {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in _weights(run)}
    rows = {str(file.relative_to(run)): _rows(file) for file in sorted(run.rglob("metrics.jsonl")) if _own(run, file)}
    summary = json.loads((run / "summary.json").read_text())
    return {"weights": weights, "rows": rows, **{key: summary.get(key) for key in COMPARED}}


def _own(run: Path, file: Path) -> bool:
    """Whether a file belongs to the run itself, not to the trials of its healing, whose number depends on the time."""
    return file.relative_to(run).parts[0] != "heal"


def _weights(run: Path) -> list[Path]:
    return [file for file in sorted(run.rglob("*.safetensors")) if _own(run, file)]


def _rows(file: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMED} for row in rows]


def files(run: Path) -> set[str]:
    """Names of the files of a run; of its healing, only those that should not be there.

    earlier.json is left out: it lists the runs beside this one.
    """
    found = {str(file.relative_to(run)) for file in run.rglob("*") if file.is_file()} - {"earlier.json"}
    return {name for name in found if not name.startswith("heal/") or name.endswith((".part", ".tmp"))}


@dataclass
class Undisturbed:
    """A run without kills: its folder, result and files, and the seconds that it took."""

    run: Path
    seconds: float
    result: dict[str, object]
    files: set[str]


def write_objects(folder: Path) -> None:
    """Write 16 images of shapes with boxes, in COCO's form."""
    from PIL import Image

    from danlu.data.sources.named.shapes import CLASSES, draw

    (folder / "images").mkdir(parents=True)
    images, annotations = draw(16, 64)
    boxes = []
    for number, (image, one) in enumerate(zip(images, annotations)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / "images" / f"{number}.png")
        for (x1, y1, x2, y2), label in zip(one.boxes.tolist(), one.labels.tolist()):
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            boxes.append({"id": len(boxes) + 1, "image_id": number, "category_id": label, **box})
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 64, "width": 64} for n in range(len(images))],
        "annotations": boxes,
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES)],
    }
    (folder / "annotations.json").write_text(json.dumps(content))


def undisturbed(kind: str, folder: Path) -> Undisturbed:
    """Train (and heal) once without kills."""
    run, log = folder / f"{kind}-undisturbed", folder / f"{kind}-undisturbed.log"
    if kind == "detect" and not (folder / "objects").exists():
        write_objects(folder / "objects")
    seconds = _complete(_command(kind, run), log)
    if kind == "heal":
        shutil.copytree(run, folder / "heal-trained")
        seconds = _complete(_command(kind, run), log)
    return Undisturbed(run, seconds, result(run), files(run))


def _complete(words: list[str], log: Path) -> float:
    began = time.monotonic()
    process = start(words, log)
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"danlu {shlex.join(words)} ended with {process.exitcode}:\n{log.read_text()}")
    return time.monotonic() - began


def trial(kind: str, seed: int, whole: Undisturbed, folder: Path) -> Trial:
    """Kill and resume one run at moments that depend on the seed."""
    moments, done = random.Random(f"{kind} {seed}"), Trial(kind, seed)
    run, log = folder / f"{kind}-{seed}", folder / f"{kind}-{seed}.log"
    if kind == "heal":
        shutil.copytree(folder / "heal-trained", run)
    for _ in range(moments.randint(1, MAX_KILLS)):
        words, began = _command(kind, run), time.monotonic()
        process = start(words, log)
        process.join(moments.uniform(0, whole.seconds))
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            done.kills += 1
        elif "--resume" not in words:  # the undisturbed run was slower, on a busier machine
            whole.seconds = min(whole.seconds, time.monotonic() - began)
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            done.faults.append(f"exit code {process.exitcode} before a kill")
        if left := orphans(process.pid or 0, ORPHAN_SECONDS):
            done.faults.append(f"{len(left)} processes outlived their parent")
            for pid in left:
                os.kill(pid, signal.SIGKILL)
    process = start(_command(kind, run), log)
    process.join()
    if any(word in log.read_text(errors="replace") for word in ("internal error", "Traceback")):
        done.faults.append("an internal error or a traceback")
    if process.exitcode != 0:
        done.faults.append(f"exit code {process.exitcode} at last")
    else:
        done.faults += _differences(run, whole)
    if not done.faults:
        shutil.rmtree(run)
        log.unlink()
    return done


def _command(kind: str, run: Path) -> list[str]:
    """Words of the command that a user gives next: start, resume or heal again."""
    if kind == "heal" and (run / "summary.json").exists():
        return ["diagnose", str(run), *shlex.split(HEAL)]
    if (run / "config.yaml").exists():
        return ["train", "--resume", str(run)]
    return [*shlex.split(COMMANDS[kind].format(objects=run.parent / "objects")), "--out", str(run)]


def _differences(run: Path, whole: Undisturbed) -> list[str]:
    found, faults = result(run), []
    faults += [f"other {key} than undisturbed" for key in found if found[key] != whole.result[key]]
    if not (run / "report.html").exists():
        faults.append("no report")
    faults += [f"{name} is left" for name in sorted(files(run) - whole.files)]
    return faults + [f"{name} is missing" for name in sorted(whole.files - files(run))]


def table(trials: list[Trial]) -> str:
    """Trials by kind as Markdown."""
    lines = ["| kind | trials | kills | survived | faults |", "|---|---|---|---|---|"]
    for kind in dict.fromkeys(one.kind for one in trials):
        mine = [one for one in trials if one.kind == kind]
        faults = "; ".join(f"seed {one.seed}: {', '.join(one.faults)}" for one in mine if one.faults)
        good = sum(not one.faults for one in mine)
        lines.append(f"| {kind} | {len(mine)} | {sum(one.kills for one in mine)} | {good} | {faults or 'none'} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="+", choices=list(COMMANDS), default=list(COMMANDS)[1:])
    parser.add_argument("--trials", type=int, default=20, help="for each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial; the others follow")
    parser.add_argument("--folder", type=Path, help="for the runs; those that fail are kept there")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="danlu-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    start(["--version"], folder / "start.log").join()  # imports torch once for all
    trials: list[Trial] = []
    for kind in given.kind:
        whole = undisturbed(kind, folder)
        print(f"{kind}: {whole.seconds:.1f} s undisturbed", flush=True)
        for seed in range(given.seed, given.seed + given.trials):
            trials.append(trial(kind, seed, whole, folder))
            found = ", ".join(trials[-1].faults) or "survived"
            print(f"{kind} seed {seed}: {trials[-1].kills} kills, {found}", flush=True)
    print(table(trials))


if __name__ == "__main__":
    main()
