"""Train in several processes: start and stop them together, and report an error of any of them once."""

from __future__ import annotations

import ctypes
import gc
import logging
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from danlu.engine.loop import Plan, Progress, Watcher
from danlu.engine.saving import INTERRUPTED, Interrupted, Saver, StopSignal
from danlu.message import message
from danlu.refuse import Failure, Refusal

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Ctrl-C reaches the child processes as well, so a stop is forwarded by a signal of its own. Windows has only SIGTERM
# for this, which ends them at once, and no SIGKILL.
FORWARDED = getattr(signal, "SIGUSR1", signal.SIGTERM)
PR_SET_PDEATHSIG = 1  # of prctl.h
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
# Pid of the process that launches others, in their environment.
LAUNCHER = "DANLU_LAUNCHER"


def _end_with_launcher() -> None:
    """In a process of `launch`, on Linux: let the kernel end it when its parent dies, even by SIGKILL.

    Without it, a process whose siblings never came would wait for them half an hour.
    """
    started_by = multiprocessing.parent_process()
    if sys.platform != "linux" or started_by is None or os.environ.get(LAUNCHER) != str(started_by.pid):
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(KILL))
    if os.getppid() != started_by.pid:  # it died while this process imported torch
        os._exit(1)


_end_with_launcher()  # at import, which comes before the processes wait for one another
# At import, since child processes import this file before Lightning logs their start.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
logging.getLogger("lightning.fabric").setLevel(logging.WARNING)


def launch(fabric: Fabric, stop: StopSignal, function: Callable[..., Progress], *args: Any) -> Progress:
    """Run `function(fabric, stop, *args)` in every process; return the first one's progress.

    A Refusal or Failure in any of them is raised here. The first signal received by `stop` stops all of them after the
    same step (`Agreement`), or raises Interrupted when they have not started yet; a second one kills them.
    """
    context = multiprocessing.get_context("spawn")
    errors, ready = context.SimpleQueue(), context.Value("i", 0)

    def forward(again: bool) -> None:
        # Before all of them handle signals there is nothing to save yet.
        early = ready.value < fabric.world_size
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, KILL if again or early else FORWARDED)
        if early and not again:
            raise Interrupted(str(stop.reason), 128 + stop.number)

    stop.forward = forward
    os.environ[LAUNCHER] = str(os.getpid())
    try:
        progress = fabric.launch(cast("Callable[[Fabric], Any]", _run_process), function, args, errors, ready)
    except (ProcessRaisedException, ProcessExitedException) as error:
        if not errors.empty():
            kind, sentence = errors.get()
            raise (Refusal if kind == "Refusal" else Failure)(sentence) from None
        if isinstance(error, ProcessExitedException):
            raise Failure(
                message(
                    "engine.refuse.process_ended_itself",
                    "process {error_index} of {world_size} ended by itself: {error}",
                    error_index=error.error_index,
                    world_size=fabric.world_size,
                    error=str(error),
                )
            ) from None
        last = str(error).strip().splitlines()[-1]  # of the traceback of the child
        if "EADDRINUSE" in last:  # the port was free when the processes were started
            port = os.environ.get("MASTER_PORT")
            raise Failure(
                message(
                    "engine.refuse.port_processes_used_another",
                    "port {port} of the processes is used by another program; start again (and unset "
                    "MASTER_PORT if you have set it)",
                    port=port,
                )
            ) from None
        raise RuntimeError(last) from error
    finally:
        stop.forward = None
        os.environ.pop(LAUNCHER, None)
    if (progress.stopped or "").startswith(INTERRUPTED):
        progress.stopped = stop.reason or progress.stopped
    return progress


def _run_process(
    fabric: Fabric, function: Callable[..., Progress], args: tuple[Any, ...], errors: Any, ready: Any
) -> Progress:
    """Entry point of each process."""
    warnings.filterwarnings("ignore", ".*all_gather is deprecated.*")
    stop, parent = StopSignal(), os.getppid()

    def from_outside(number: int, frame: object) -> None:
        if os.getppid() != parent:  # the parent was killed, and its lock on the run folder released
            os._exit(1)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, from_outside)
    signal.signal(FORWARDED, stop.handle)
    with ready.get_lock():
        ready.value += 1
    try:
        progress = function(fabric, stop, *args)
        gc.collect()  # free objects that hold the process group
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()  # at interpreter exit its threads may abort the process
        return progress
    except (Refusal, Failure) as error:
        errors.put((type(error).__name__, str(error)))
        raise SystemExit(1) from None


class Agreement(Watcher):
    """Make all processes save and stop after the same step, so that none waits for another.

    They communicate every `log_every` steps and at the end of an epoch. saver: used by the first process only.
    """

    def __init__(self, stop: StopSignal, saver: Saver) -> None:
        self.stop, self.saver, self.parent = stop, saver, os.getppid()
        self.reason: str | None = None

    def __call__(self) -> str | None:
        """The reason to stop, or None; passed to `fit` as `stop`."""
        return self.reason

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        """Agree whether to save and stop, at the end of an optimiser step."""
        if os.getppid() != self.parent:
            os._exit(1)
        inside = progress.batch < plan.train.length(progress.epoch)
        closed = plan.train.closes_step(progress.epoch, progress.batch - 1)
        if not inside or not closed or progress.step % plan.log_every:
            return
        first = plan.fabric.global_rank == 0
        self.reason, save = self._agree(plan, first and self.saver.due)
        if self.reason or save:
            assert progress.running is not None
            sums: list[Any] = [None] * plan.fabric.world_size
            torch.distributed.all_gather_object(sums, progress.running.state())
            if first:
                self.saver.save(plan, progress, sums[1:])

    def on_epoch(self, plan: Plan, progress: Progress, row: dict[str, Any], improved: bool) -> None:
        """Agree whether to stop after the epoch."""
        reason, _ = self._agree(plan, False)  # the first process has saved already
        if reason and progress.epoch < plan.epochs and progress.stopped is None:
            progress.stopped = reason

    def _agree(self, plan: Plan, save: bool) -> tuple[str | None, bool]:
        """Reason to stop, and whether to save, when any process requests it."""
        requests = torch.tensor([float(self.stop.reason is not None), float(save)], device=plan.fabric.device)
        total = cast(Tensor, plan.fabric.all_reduce(requests, reduce_op="sum"))
        stop, save = (total > 0).tolist()
        return message("stop.any_signal", "interrupted by a signal") if stop else None, save
