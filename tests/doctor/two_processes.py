"""DistributedDataParallel over two processes, run by test_anywhere.py: python two_processes.py FOLDER.

Each process trains three times, unwatched, watched, and watched at a rate far too high, and writes what came of it.
"""

from __future__ import annotations

import json
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

import danlu

SAMPLES, BATCH, EPOCHS = 256, 32, 5


def train(rank: int, rate: float, watched: bool) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, 20, generator=generator)
    y = (x[:, :4] + 0.3 * torch.randn(SAMPLES, 4, generator=generator)).argmax(1)
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))
    model, loss_fn = DistributedDataParallel(net), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    doctor = danlu.watch(model, optimizer, loss_fn, budget=math.inf) if watched else nullcontext()
    order, losses = torch.Generator().manual_seed(1), []
    with doctor:
        for _ in range(EPOCHS):
            model.train()
            for rows in torch.randperm(192, generator=order).split(BATCH):
                own = rows.chunk(2)[rank]
                optimizer.zero_grad()
                loss = loss_fn(model(x[own]), y[own])
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
            model.eval()
            with torch.no_grad():
                losses.append(float(loss_fn(model(x[192:]), y[192:])))
    return {
        "losses": losses,
        "weights": [value.tolist() for value in model.state_dict().values()],
        "codes": [f.code for f in doctor.findings if f.severity != "note"] if watched else [],
        "unseen": doctor.ledger.facts("run.unseen") if watched else {},
        "hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()),
    }


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    seen = {"alone": train(rank, 0.03, False), "watched": train(rank, 0.03, True), "high": train(rank, 30.0, True)}
    Path(folder, f"{rank}.json").write_text(json.dumps(seen), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    spawn(work, (sys.argv[1],), nprocs=2)
