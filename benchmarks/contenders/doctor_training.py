"""Plain training loop, unwatched, under the doctor or under Cockpit. One round is a number of steps."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from protocol import Answers, Job, leave_out, serve
from torch import Tensor, nn

from danlu.doctor.watch import watch
from danlu.models.network_table import build_model


def training(job: Job) -> Answers:
    torch.manual_seed(0)
    network = build_model(job["model"], channels=job["channels"], size=job["size"], classes=10, **job["options"])
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    loss_fn = nn.CrossEntropyLoss()
    inputs = torch.randn(job["batch"] * 8, job["channels"], job["size"], job["size"])
    batches = list(zip(inputs.split(job["batch"]), torch.randint(10, (job["batch"] * 8,)).split(job["batch"])))
    if job["watcher"] == "Cockpit":
        steps = _under_cockpit(network, optimizer, loss_fn, batches)
    else:
        steps = _plain(network, optimizer, loss_fn, batches)
    with _watch(job["watcher"], network, optimizer, loss_fn) as doctor:
        begun = time.perf_counter()
        while time.perf_counter() - begun < job["warm"]:
            next(steps)
        stood_still = time.perf_counter()
        yield {"settings": job["watcher"]}
        leave_out(doctor, stood_still)
        while True:
            began = time.perf_counter()
            for _ in range(job["steps"]):
                next(steps)
            seconds = time.perf_counter() - began
            answer = {"seconds": seconds / job["steps"], "kilobytes": peak()}
            if doctor is not None:
                budget = doctor._watched.budget
                answer["own account"] = budget.total / max(budget.elapsed + budget.total, 1e-9)
            stood_still = time.perf_counter()
            yield answer
            leave_out(doctor, stood_still)


def peak() -> int:
    """Peak resident memory of the process in KiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _watch(watcher: str, network: nn.Module, optimizer: Any, loss_fn: nn.Module) -> AbstractContextManager[Any]:
    if watcher != "danlu":
        return nullcontext()
    return watch(network, optimizer, loss_fn, quiet=True)


def _plain(network: nn.Module, optimizer: Any, loss_fn: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Any:
    while True:
        for x, y in batches:
            loss = loss_fn(network(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            yield


def _under_cockpit(network: nn.Module, optimizer: Any, loss_fn: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> Any:
    """Cockpit's default quantities ("economy"), every tenth step, as its documentation recommends."""
    from backpack import extend
    from cockpit import Cockpit
    from cockpit.utils.configuration import configuration
    from cockpit.utils.schedules import linear

    for module in network.modules():  # BackPACK's hooks do not work with in-place activations
        if hasattr(module, "inplace"):
            module.inplace = False
    network, loss_fn = extend(network), extend(loss_fn)
    each = extend(nn.CrossEntropyLoss(reduction="none"))
    cockpit = Cockpit(network.parameters(), quantities=configuration("economy", track_schedule=linear(10)))
    number = 0
    while True:
        for x, y in batches:
            outputs = network(x)
            loss, losses = loss_fn(outputs, y), each(outputs, y)
            info = {
                "batch_size": len(x),
                "individual_losses": losses,
                "loss": loss,
                "optimizer": optimizer,
            }
            with cockpit(number, info=info):
                loss.backward(create_graph=cockpit.create_graph(number))
            optimizer.step()
            optimizer.zero_grad()
            number += 1
            yield


if __name__ == "__main__":
    serve(training)
