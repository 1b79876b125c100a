"""Measure danlu on a GPU in one call: `python benchmarks/gpu.py`; `--quick --device cpu` tests the script itself.

Each line of the first table is one `danlu train ... --json` in its own process, so that a failure does not affect the
others and GPU memory is free at the start. The cases cover precisions, compilation, data in GPU memory, JPEGs decoded
on the CPU, accumulated and distributed batches, detectors at full size, and training with and without the doctor. Then
a killed and resumed training is compared with an uninterrupted one, and 2:4 kernels with dense ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from material import write_arrays, write_photographs
from speed import circumstances, say
from torch import Tensor, nn

from danlu.config import ModelConfig
from danlu.learning.sparse import plain_state, semi_structured, sparsify
from danlu.refuse import Refusal

RESULTS = Path(__file__).resolve().parent / "results" / "gpu.md"
DANLU = str(Path(sys.executable).with_name("danlu"))
LIMIT = 240.0  # seconds of one training
SMALL = "{mnist} --model lenet --batch-size 512 --epochs 5"
MIDDLE = "{cifar10} --model resnet18-cifar --batch-size 512 --epochs 2"
WIDE = f"{MIDDLE} --precision bf16 --channels-last true"
LARGE = "{photographs} --size 224 --batch-size 128 --epochs 3 --precision bf16 --workers 8"
OBJECTS = "shapes --batch-size 16 --epochs 2 --precision bf16"
CASES = {
    "LeNet, fp32": f"{SMALL} --precision fp32",
    "LeNet, bf16": f"{SMALL} --precision bf16",
    "LeNet, bf16, no doctor": f"{SMALL} --precision bf16 --doctor.budget 0",
    "ResNet-18 at 32 px, fp32": f"{MIDDLE} --precision fp32",
    "ResNet-18 at 32 px, bf16, channels_last": WIDE,
    "ResNet-18 at 32 px, no doctor": f"{WIDE} --doctor.budget 0",
    "ResNet-18 at 32 px, compiled": f"{WIDE} --compile true",
    "ResNet-18 at 32 px, four batches a step": f"{WIDE} --optim.accumulate 4",
    "ResNet-18 at 32 px, fp16": f"{MIDDLE} --precision fp16 --channels-last true",
    "ResNet-50 at 224 px, JPEG": f"{LARGE} --model resnet50",
    "ViT-S/16 at 224 px, JPEG": f"{LARGE} --model vit-small",
    "SSD300": f"{OBJECTS} --task detect --model ssd300 --size 300",
    "RetinaNet, ResNet-50, 512 px": f"{OBJECTS} --task detect --model retinanet --backbone resnet50 --size 512",
    "YOLO small, 640 px": f"{OBJECTS} --task detect --model yolo-small --size 640",
    "Faster R-CNN, ResNet-50, 512 px": f"{OBJECTS} --task detect --model faster-rcnn --backbone resnet50 --size 512",
    "Mask R-CNN, ResNet-50, 512 px": f"{OBJECTS} --task segment --model mask-rcnn --backbone resnet50 --size 512",
}
ON_ALL = "ResNet-18 at 32 px on every GPU"
# Appended to the words of a case: the last value of a repeated flag wins.
QUICK = "--data.limit 48 --val 64 --test 64 --batch-size 16 --epochs 1 --workers 0"


def train(words: str, out: Path) -> dict[str, Any]:
    """Run `danlu train WORDS --json` and return its JSON, or {"error": last line} if it failed."""
    command = [DANLU, "train", *words.split(), "--json", "--out", str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"not done within {LIMIT:.0f} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return json.loads(done.stdout)


def row(title: str, found: dict[str, Any], seconds: float) -> str:
    if "error" in found:
        return f"| {title} | | | {seconds:.0f} | {found['error']} |"
    metrics = found["metrics"]["test"] or found["metrics"]["val"]
    name = next(n for n in ("accuracy", "mAP50", "loss") if n in metrics)
    codes = ", ".join(finding["code"] for finding in found["findings"] if finding["severity"] != "note") or "none"
    return f"| {title} | {found['samples_per_second']:,.0f} | {name} {metrics[name]:.3f} | {seconds:.0f} | {codes} |"


def resumed(words: str, folder: Path) -> str:
    """Compare the weights of a training killed after its first epoch and resumed with an uninterrupted one."""
    whole, cut = folder / "whole", folder / "cut"
    if "error" in (found := train(words, whole)):
        return found["error"]
    same = [
        DANLU,
        "train",
        "--config",
        str(whole / "config.yaml"),
        "--out",
        str(cut),
    ]  # precision and memory format of the first run
    process = subprocess.Popen(same, stdout=subprocess.DEVNULL)
    end = time.perf_counter() + LIMIT
    while process.poll() is None and time.perf_counter() < end and not (cut / "weights" / "last.safetensors").exists():
        time.sleep(0.05)
    process.kill()
    process.wait()
    again = [DANLU, "train", "--resume", str(cut)]
    said = subprocess.run(again, capture_output=True, text=True, timeout=LIMIT, check=False)
    if said.returncode:
        return (said.stderr.strip().splitlines() or ["no output"])[-1]
    both = [(run / "weights" / "last.safetensors").read_bytes() for run in (whole, cut)]
    return "bit-identical" if both[0] == both[1] else "DIFFERENT WEIGHTS"


def sparse(device: torch.device) -> str:
    """Compare dense and sparse fp16 kernels on the two linear layers of a transformer block with 2:4 weights."""
    torch.manual_seed(0)
    pruned = nn.Sequential(nn.Linear(1024, 4096), nn.GELU(), nn.Linear(4096, 1024)).to(device)
    sparsify(pruned, ModelConfig(sparse="2:4"))
    dense = nn.Sequential(nn.Linear(1024, 4096), nn.GELU(), nn.Linear(4096, 1024))
    dense.load_state_dict(plain_state(pruned))
    dense = dense.to(device).half()
    quick = nn.Sequential(*dense)
    x = torch.randn(8192, 1024, device=device, dtype=torch.float16)
    with torch.no_grad():
        wanted, slow = dense(x), timed(dense, x)
        try:
            layers = semi_structured(quick)
        except Refusal as error:
            return str(error)
        apart = (quick(x) - wanted).abs().max() / wanted.abs().max()
        speed_up = slow / timed(quick, x)
        return f"{len(layers)} layers, {speed_up:.2f} x as fast, max difference {apart:.1e} of the largest output"


def timed(network: Callable[[Tensor], Tensor], x: Tensor, rounds: int = 30) -> float:
    """Median time of a forward pass in seconds, after three warm-up passes."""
    taken = []
    for number in range(rounds + 3):
        torch.cuda.synchronize() if x.is_cuda else None
        began = time.perf_counter()
        network(x)
        torch.cuda.synchronize() if x.is_cuda else None
        taken += [time.perf_counter() - began] if number >= 3 else []
    return median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="cases with this in their title; may be repeated")
    parser.add_argument("--device", default="cuda", help="[cuda]")
    parser.add_argument("--quick", action="store_true", help="a few samples of everything, to test the script")
    options = parser.parse_args()
    gpus = torch.cuda.device_count() if options.device == "cuda" else 1
    chosen = CASES | ({ON_ALL: f"{WIDE} --devices {gpus}"} if gpus > 1 else {})
    chosen = {t: w for t, w in chosen.items() if not options.only or any(part in t for part in options.only)}
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    lines = [circumstances(None, options.quick), "", f"GPUs: {gpus} x {name}.", ""]
    lines += ["| training | samples/s | result | seconds in all | errors and warnings |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="danlu-gpu-") as made:
        folder = Path(made)
        data = {n: str(folder / n) for n in ("mnist.npz", "cifar10.npz", "photographs")}
        write_arrays("mnist", 28, 1, 60_000, Path(data["mnist.npz"]))
        write_arrays("cifar10", 32, 3, 50_000, Path(data["cifar10.npz"]))
        write_photographs(Path(data["photographs"]), 60 if options.quick else 2000)
        places = {Path(n).stem: path for n, path in data.items()}
        more = f" --device {options.device}" + (f" {QUICK}" if options.quick else "")
        for number, (title, words) in enumerate(chosen.items()):
            say(title)
            began = time.perf_counter()
            found = train(words.format(**places) + more, folder / f"run{number}")
            lines.append(row(title, found, time.perf_counter() - began))
            print(lines[-1], flush=True)
        words = f"{places['mnist']} --model lenet --deterministic true --data.limit 20000 --epochs 3{more}"
        lines += ["", f"Killed and resumed: {resumed(words.replace('--epochs 1', '--epochs 3'), folder)}."]
        lines += ["", f"2:4 kernels: {sparse(torch.device(options.device))}."]
    print("\n".join(lines[-4:]))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
