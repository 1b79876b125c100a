"""Notes on settings that cost time on this machine, before a training begins."""

from __future__ import annotations

import os

from danlu.message import Message, message
from danlu.preparation.prepared import Prepared


def machine_notes(prepared: Prepared) -> list[Message]:
    """Cost of `--compile` and `--devices` on this machine, one sentence each with the next step."""
    config, on_cpu = prepared.config, prepared.device.type == "cpu"
    notes = []
    if config.compile:
        text = (
            "note: --compile compiles the network in the first epoch, which takes minutes without a line; it pays off "
            "in long trainings only: leave it out for short ones"
        )
        notes.append(message("printing.compile_note", text))
    if config.devices > 1 and on_cpu:
        text = (
            "note: --devices {count} on a CPU shares its {cores} cores among {count} processes, which start first and "
            "exchange gradients at every step: for small networks one process is faster, leave --devices out"
        )
        notes.append(message("printing.devices_note", text, count=config.devices, cores=os.cpu_count() or 1))
    return notes
