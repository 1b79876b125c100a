"""danlu train with its defaults: augmentation, metrics, progress bars, doctor, record, validation, checkpoints.

Data are read and settings chosen once; each round is one more epoch of `engine.loop.fit` with the watchers of
`danlu train`. Precision and memory format are chosen by danlu's probe. Two figures: the training pass, from the call of
`fit` to the end of the last batch; and the whole epoch with validation, metrics, record and checkpoints.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from protocol import Answers, Job, leave_out, serve
from rich.console import Console
from torch import Tensor

from danlu.config import DoctorConfig, from_dict
from danlu.engine.device import make_fabric
from danlu.engine.display import Display
from danlu.engine.doctor_watcher import DoctorWatcher
from danlu.engine.loop import Plan, Progress, Watcher, fit
from danlu.engine.saving import Saver, StopSignal
from danlu.preparation.assemble import make_plan
from danlu.preparation.prepare import prepare
from danlu.run.folder import Run
from danlu.run.record import Record
from danlu.training.conditions import conditions

EPOCHS = 1000  # more than the number of rounds: the schedule needs a length
WARM = 12.0  # seconds of training before the first round; the doctor may use 0.3 s beyond its budget at the start


class Stopwatch(Watcher):
    """Time the batches of an epoch after the warm ones."""

    def __init__(self, warm: int) -> None:
        self.warm, self.first, self.last = warm, 0.0, 0.0

    def on_batch(self, plan: Plan, progress: Progress, parts: dict[str, Tensor]) -> None:
        self.last = time.perf_counter()
        if progress.batch == self.warm:
            self.first = self.last


def danlu_train(job: Job) -> Answers:
    samples = job["batches"] * job["batch"]
    prepared = prepare(from_dict(_settings(job, samples)))
    config = prepared.config
    fabric = make_fabric(prepared.device, 1, config.precision or "fp32")
    fabric.launch()
    plan = make_plan(prepared, fabric)
    run = Run.create(str(Path(job["folder"], f"run-{os.getpid()}")))
    record, progress, stopwatch = Record(run.folder / "metrics.jsonl"), Progress(), Stopwatch(job["warm"])
    saver = Saver(run, prepared.signature, prepared.fingerprint, conditions(config), config.save_every)
    optimizer = getattr(plan.optimizer, "optimizer", plan.optimizer)  # Fabric wraps it
    settings = (
        f"{config.precision}, {'channels_last, ' if config.channels_last else ''}"
        f"{'fused ' if optimizer.defaults.get('fused') else ''}{type(optimizer).__name__}"
    )
    doctor_watcher = DoctorWatcher(plan, config, run, run.log) if config.doctor.budget else None
    with open(os.devnull, "w") as nowhere, StopSignal().installed() as stop, doctor_watcher or nullcontext():

        def epoch() -> float:
            """Train one epoch; return its time in seconds."""
            display = Display(Console(file=nowhere, force_terminal=True, width=120), run.log)
            plan.epochs = progress.epoch + 1
            began = time.perf_counter()
            with display:
                fit(plan, progress, record, [*[doctor_watcher] * bool(doctor_watcher), display, saver, stopwatch], stop)
            return time.perf_counter() - began

        warm = 0.0
        while warm < WARM:
            warm += epoch()
        stood_still = time.perf_counter()
        yield {"settings": settings}
        while True:
            leave_out(doctor_watcher and doctor_watcher.doctor, stood_still)
            seconds = epoch()
            stood_still = time.perf_counter()
            yield {
                "images_per_second": (samples - job["warm"] * job["batch"]) / (stopwatch.last - stopwatch.first),
                "whole epoch": samples / seconds,
            }


def _settings(job: Job, samples: int) -> dict[str, Any]:
    """Settings of the run; optimiser, learning rate, precision and format are left to danlu."""
    flip = "lr" if job["flip"] else "none"
    return {
        "data": {"path": job["data"], "limit": samples, "val": samples // 9, "test": 0},  # the default 9 : 1
        "model": job["model"],
        "batch_size": job["batch"],
        "epochs": EPOCHS,
        "augment": {"preset": "none", "pad": job["pad"], "flip": flip},
        "device": "cpu",
        "doctor": {"budget": job.get("doctor", DoctorConfig().budget)},
    }


if __name__ == "__main__":
    serve(danlu_train)
