"""Memory leaks are distinguished from warm-up, on recorded curves and in this process."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import torch
from torch import nn

import danlu
from danlu.doctor.findings.speed.memory_growth import memory_growth
from danlu.doctor.instruments.memory import free_in_heap, in_use, resident
from danlu.doctor.ledger import Ledger

MIB = 2**20
START = 1300.0

# Readings in MiB, from the first on, and whether they show a leak.
CURVES = {
    "a list of losses with their graphs": ([START + 40 * i for i in range(12)], True),
    "a list that grows unevenly": ([START + 40 * i + 9 * math.sin(3 * i) for i in range(16)], True),
    "a leak behind a cache that fills": ([START + 200 * min(i, 3) / 3 + 30 * i for i in range(16)], True),
    "gaps in the heap, less and less": ([START + 250 * (1 - math.exp(-i / 4)) for i in range(16)], False),
    "the root of the steps": ([START + 70 * math.sqrt(i) for i in range(16)], False),
    "their logarithm": ([START + 90 * math.log1p(i) for i in range(16)], False),
    "one jump": ([START + 300 * (i > 8) for i in range(16)], False),
    "jumps": ([START + 100 * (i // 4) for i in range(16)], False),
    "up and down": ([START + 80 * (i % 2) + 5 * i for i in range(16)], False),
    "six epochs that settle": ([1330.0, 1420.0, 1475.0, 1510.0, 1535.0, 1550.0], False),
    "flat": ([START] * 16, False),
    "little": ([START + 1.5 * i for i in range(16)], False),
}


@pytest.mark.parametrize("name", ["memory.process_step", "memory.process", "memory.device"])
@pytest.mark.parametrize("curve", CURVES)
def test_leaks_are_distinguished_from_warm_up(curve: str, name: str) -> None:
    ledger, (sizes, leaks) = Ledger(), CURVES[curve]
    for i, size in enumerate(sizes):
        ledger.add(name, int(size * MIB), "", 128 * i if name.endswith("step") else i + 1)
    ledger.add("run.finished", 128 * len(sizes))
    found = [finding.where for finding in memory_growth(ledger)]
    assert found == (["device" if name == "memory.device" else "process"] if leaks else [])


def test_cache_filled_in_the_first_epoch_is_not_a_leak() -> None:
    """A dataset that keeps what it has decoded grows steadily, for one epoch."""
    ledger = Ledger()
    for i in range(13):
        ledger.add("memory.process_step", int((START + 50 * i) * MIB), "", 128 * i)
    assert not list(memory_growth(ledger))
    ledger.add("run.steps", 12 * 128, "", 1)
    assert not list(memory_growth(ledger))
    ledger.add("run.finished", 12 * 128)  # it was all of the run: no cache would be of use
    assert list(memory_growth(ledger))


@pytest.mark.skipif(free_in_heap() == 0, reason="needs the heap of glibc")
def test_gaps_in_the_heap_are_not_in_use() -> None:
    blocks = [torch.ones(16_000) for _ in range(1500)]  # 64 kB each: from the heap, not mapped one by one
    full, full_resident = in_use(), resident()
    del blocks[::2]
    assert full_resident - resident() < 10 * MIB  # the gaps lie between blocks that live
    assert 35 * MIB < full - in_use() < 60 * MIB
    assert in_use() < resident()


def test_the_doctor_keeps_no_optimiser_alive() -> None:
    """A loop that makes its optimiser anew in each step leaves them, and their state, to be collected."""
    model, seen = nn.Linear(8, 2), []
    with danlu.watch(model, loss_fn=nn.MSELoss()) as doctor:
        for _ in range(40):
            optimizer = torch.optim.Adam(model.parameters(), 1e-3)
            seen.append(weakref.ref(optimizer))
            loss = nn.functional.mse_loss(model(torch.randn(16, 8)), torch.randn(16, 2))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        gc.collect()
        assert sum(one() is not None for one in seen) <= 2
    assert "loop.optimizer_recreated" in {finding.code for finding in doctor.findings}
    assert len(doctor.ledger.wheres("optimizer.kind")) == 32
