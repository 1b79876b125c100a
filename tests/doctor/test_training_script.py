"""The lecture notes' training script (claims G4): the doctor finds all its faults."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import nn

import danlu

BATCH = 128


def the_script() -> list[str]:
    """SGD 0.01, momentum 0.9, decay 5e-4, made anew each epoch; validation records; hits over batches x size."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images).float().sub(4.9).div(6)
    y = torch.from_numpy(labels).long()
    train, test = (x[:1500], y[:1500]), (x[1500:], y[1500:])
    model, loss_fn = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), nn.CrossEntropyLoss()
    with danlu.watch(model, loss_fn=loss_fn, budget=float("inf")) as doctor:
        for _ in range(6):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
            model.train()
            for rows in torch.randperm(len(train[0])).split(BATCH):
                loss = loss_fn(model(train[0][rows]), train[1][rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            model.eval()
            hits = batches = 0
            for start in range(0, len(test[0]), BATCH):
                outputs = model(test[0][start : start + BATCH])
                loss_fn(outputs, test[1][start : start + BATCH])
                hits += int((outputs.argmax(1) == test[1][start : start + BATCH]).sum())
                batches += 1
            doctor.epoch(val_accuracy=hits / (batches * BATCH))
    return [finding.code for finding in doctor.findings]


def test_its_three_faults_are_found() -> None:
    found = the_script()
    assert {"loop.optimizer_recreated", "loop.graph_kept", "loop.metric_last_batch"} <= set(found)
