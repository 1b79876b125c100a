"""Several processes that share one training: started together, stopped together, and what fails in one is said once."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from danlu.engine.loop import Plan, Progress, Watcher
from danlu.engine.saving import INTERRUPTED, Interrupted, StopSignal
from danlu.refuse import Failure, Refusal

FORWARDED = signal.SIGUSR1  # Ctrl-C reaches the children as well: one word of their own cannot be heard twice
# Here, not in a function: the children import this file before Lightning announces each of them.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
logging.getLogger("lightning.fabric").setLevel(logging.WARNING)


def launch(fabric: Fabric, stop: StopSignal, function: Callable[..., Progress], *args: Any) -> Progress:
    """`function(fabric, stop, *args)` in every process; gives the first one's progress.

    A Refusal or Failure in any of them is raised here. The first signal that `stop` hears makes all of them stop at the
    end of the epoch (Interrupted when they have not begun yet), a second one ends them at once.
    """
    context = multiprocessing.get_context("spawn")
    said, ready = context.SimpleQueue(), context.Value("i", 0)

    def forward(again: bool) -> None:
        # Before all of them listen there is nothing to save yet.
        early = ready.value < fabric.world_size
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL if again or early else FORWARDED)
        if early and not again:
            raise Interrupted(str(stop.reason), 128 + stop.number)

    stop.forward = forward
    try:
        progress = fabric.launch(_share, function, args, said, ready)
    except (ProcessRaisedException, ProcessExitedException) as error:
        if not said.empty():
            kind, sentence = said.get()
            raise (Refusal if kind == "Refusal" else Failure)(sentence) from None
        if isinstance(error, ProcessExitedException):
            raise Failure(f"process {error.error_index} of {fabric.world_size} ended by itself: {error}") from None
        raise
    finally:
        stop.forward = None
    if (progress.stopped or "").startswith(INTERRUPTED):
        progress.stopped = stop.reason or progress.stopped
    return progress


def _share(fabric: Fabric, function: Callable[..., Progress], args: tuple[Any, ...], said: Any, ready: Any) -> Progress:
    """What runs in each process."""
    warnings.filterwarnings("ignore", ".*all_gather is deprecated.*")
    stop, parent = StopSignal(), os.getppid()

    def from_outside(number: int, frame: object) -> None:
        if os.getppid() != parent:  # the parent was killed, and its lock on the run folder is gone
            os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, from_outside)
    signal.signal(FORWARDED, stop.heard)
    with ready.get_lock():
        ready.value += 1
    try:
        progress = function(fabric, stop, *args)
        gc.collect()  # what still holds the group would outlive it
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()  # left to the interpreter's end, its threads may abort the process
        return progress
    except (Refusal, Failure) as error:
        said.put((type(error).__name__, str(error)))
        raise SystemExit(1) from None


class Agreement(Watcher):
    """All processes stop after the same epoch: inside one they would wait for one another."""

    def __init__(self, stop: StopSignal) -> None:
        self.stop, self.parent = stop, os.getppid()

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        if os.getppid() != self.parent:
            os._exit(1)

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        wish = torch.tensor([float(self.stop.reason is not None)], device=plan.fabric.device)
        wished = plan.fabric.all_reduce(wish, reduce_op="sum")
        if wished.item() > 0 and progress.epoch < plan.epochs and progress.stopped is None:  # type: ignore[union-attr]
            progress.stopped = f"{INTERRUPTED} by a signal"
