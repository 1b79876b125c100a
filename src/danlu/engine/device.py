"""Device, precision and memory format of a run: Fabric for devices and processes, a short benchmark for the format."""

from __future__ import annotations

import ctypes
import logging
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from danlu.config.values import Precision
from danlu.message import Message, message
from danlu.refuse import Refusal, refusal

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Fabric makes torch query NVML for GPUs, also at every step of Adam: 30 to 200 us on machines without a GPU. The CUDA
# runtime answers in 1 us.
if not torch.cuda.is_available():
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"

FABRIC_PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
    "fp32": "32-true",
    "bf16": "bf16-mixed",
    "fp16": "16-mixed",
}
PROBE_STEP_SECONDS = 0.2  # of a timed step, about; a batch that takes longer is timed on fewer samples
MIN_PROBE_BATCH = 2  # samples
# A format whose first step takes longer than both is left out: bf16 takes ten times as long without instructions.
MAX_COLD_SECONDS = 1.0
MAX_COLD_RATIO = 4.0  # to a step of plain fp32
Step = Callable[[Tensor], None]  # a training step on inputs


def pick_device(name: str, count: int = 1) -> torch.device:
    """Return a device by name; `auto` is the first GPU, else MPS, else the CPU. Raises Refusal if it does not exist."""
    here = ["cpu"]
    if torch.backends.mps.is_available():
        here.append("mps")
    if torch.cuda.is_available():
        here += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if kind in here)
    if name not in here:
        raise Refusal(
            message(
                "engine.refuse.device_machine_got_choose",
                "--device must be one that this machine has, got {name!r}; choose from auto, {here}",
                name=name,
                here=here,
            )
        )
    if name.startswith("cuda") and count > torch.cuda.device_count():
        raise refusal(
            "--devices",
            message(
                "engine.wanted.most_gpus_machine",
                "at most {device_count}, the GPUs of this machine",
                device_count=torch.cuda.device_count(),
            ),
            count,
        )
    if name == "mps" and count > 1:
        raise refusal("--devices", message("engine.wanted.mps", "1 on mps"), count)
    if name == "cpu" and count > 64:
        raise refusal(
            "--devices", message("engine.wanted.most_64_processes_cpu", "at most 64 processes on a cpu"), count
        )
    return torch.device(name)


def check_precision(precision: str, device: torch.device) -> None:
    """Raise Refusal if a device does not support a precision."""
    if precision == "fp16" and device.type == "cpu":
        raise refusal("--precision", message("engine.wanted.fp32_bf16_cpu", "fp32 or bf16 on a cpu"), "fp16")


def make_fabric(device: torch.device, devices: int = 1, precision: str = "fp32") -> Fabric:
    """Create a Fabric, not launched yet. Several devices share each batch by DDP (gloo on CPU, NCCL on GPUs).

    Fabric is imported here and not above: it takes 3 s of processor time, which only training and evaluation need.
    """
    from lightning_fabric import Fabric

    check_precision(precision, device)
    if devices > 1:
        where: int | list[int] = devices
    else:
        where = [device.index] if device.type == "cuda" and device.index is not None else 1
    warnings.filterwarnings("ignore", "Using .* Automatic Mixed Precision")
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(
        accelerator=device.type,
        devices=where,
        strategy="ddp_spawn" if devices > 1 else "auto",
        precision=FABRIC_PRECISIONS[precision],
    )


def set_determinism(device: torch.device, wanted: bool) -> None:
    """On CUDA, forbid nondeterministic operations, or let cuDNN benchmark its kernels. No-op on other devices."""
    if device.type != "cuda":
        return
    torch.backends.cudnn.benchmark = not wanted
    torch.use_deterministic_algorithms(wanted)
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next step instead of returning it to the kernel.

    By default it may return the activations of every step and fault them in again page by page: a LeNet step then has
    1,100 page faults instead of none and runs at two thirds of its speed. No-op with other C libraries.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # constants of malloc.h
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(m_trim_threshold, 2**31 - 1)
    mallopt(m_mmap_threshold, 2**30)


def in_precision(fabric: Fabric, module: Callable[..., Any]) -> Callable[..., Any]:
    """Run `module` in the Fabric's precision, for one process; Fabric's own wrapper adds 3 % to a small step."""

    def forward(*inputs: Any) -> Any:
        with fabric.autocast():
            return module(*inputs)

    return forward


@dataclass(frozen=True)
class Format:
    """Precision and memory format of a training, and the reason for them."""

    precision: Precision
    channels_last: bool
    reason: Message


def probe_format(build: Callable[[], nn.Module], inputs: Tensor, seconds: float = 0.5, *, half: bool = True) -> Format:
    """Time training steps and return the fastest of fp32, fp32 with channels_last and bf16 with channels_last.

    build: creates the network. inputs: one float32 batch (n, C, H, W). seconds: time to spend. half: bf16 too.
    Another format must be 10 % faster than plain fp32 to be chosen, so that noise does not decide. Of a batch that
    takes long, a few samples are timed.
    """
    candidates: list[tuple[Precision, bool]] = [("fp32", False), ("fp32", True)]
    if half:
        candidates.append(("bf16", True))
    state = torch.get_rng_state()
    few = inputs[:MIN_PROBE_BATCH]
    steps: dict[tuple[Precision, bool], Step] = {}
    warm: dict[tuple[Precision, bool], float] = {}  # seconds of a step on a few samples
    for candidate in candidates:
        step = _step(build(), inputs.device, *candidate)
        cold = _timed(step, few)  # the first pass allocates memory and prepares kernels
        if not warm or cold < max(MAX_COLD_SECONDS, MAX_COLD_RATIO * warm[candidates[0]]):
            steps[candidate], warm[candidate] = step, _timed(step, few)
    samples = len(few) * PROBE_STEP_SECONDS / max(*warm.values(), 1e-9)
    inputs = inputs[: max(MIN_PROBE_BATCH, int(min(samples, len(inputs))))]
    longest = max(_timed(step, inputs) + _timed(step, inputs) for step in steps.values())
    # Candidates take turns, so that drift of the machine's speed affects all equally. Short steps run in groups, since
    # the first of a group starts with a cold cache. Medians, since formats with equal minima differ in how often they
    # reach it.
    times: dict[tuple[Precision, bool], list[float]] = {candidate: [] for candidate in steps}
    steps_per_turn = 4 if longest < 0.1 else 1
    end = time.perf_counter() + seconds
    turns = 0
    while turns < 3 or (time.perf_counter() < end and turns < 50):
        for candidate, step in steps.items():
            times[candidate] += [_timed(step, inputs) for _ in range(steps_per_turn)]
        turns += 1
    torch.set_rng_state(state)
    typical = {candidate: median(taken) for candidate, taken in times.items()}
    plain = typical[candidates[0]]
    best = min(typical, key=typical.__getitem__)
    if typical[best] > 0.9 * plain:
        best = candidates[0]
    gain = plain / typical[best]
    reason = message("choice.precision.not_faster", "measured here: nothing was faster")
    if best != candidates[0]:
        reason = message("choice.precision.faster", "measured here: {speedup:.1f} x plain fp32", speedup=gain)
    return Format(*best, reason=reason)


def _timed(step: Step, inputs: Tensor) -> float:
    """Seconds that one step takes."""
    start = time.perf_counter()
    step(inputs)
    return time.perf_counter() - start


def _step(model: nn.Module, device: torch.device, precision: str, channels_last: bool) -> Step:
    """A training step of the model on inputs (n, C, H, W), in a precision and memory format."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=memory_format)

    def step(inputs: Tensor) -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            outputs = model(inputs.to(memory_format=memory_format))
        loss = outputs.float().square().mean()
        if loss.requires_grad:  # a frozen backbone has no backward pass
            loss.backward()
        model.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step
