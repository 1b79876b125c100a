"""The training loop of PyTorch's tutorial: DataLoader, torchvision.transforms.v2 per image, fp32."""

from __future__ import annotations

import time

from peer_parts import WORKERS, faster_workers, make_loader, make_network, make_optimizer, settings
from protocol import Answers, Job, serve
from torch.nn import functional as F
from torch.utils.data import DataLoader


def plain_torch(job: Job) -> Answers:
    model = make_network(job)
    optimizer = make_optimizer(job, model)

    def train(loader: DataLoader) -> float:
        """Images per second from the end of the warm batches to the end of the last."""
        model.train()
        began = 0.0
        for number, (inputs, targets) in enumerate(loader, start=1):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            if number % 50 == 0:
                print(f"batch {number}: loss {loss.item():.4f}")
            if number == job["warm"]:
                began = time.perf_counter()
        return job["batches"] * job["batch"] / (time.perf_counter() - began)

    loaders = {workers: make_loader(job, workers) for workers in WORKERS}
    workers = faster_workers(train, loaders)
    loader = loaders[workers]
    del loaders
    yield {"settings": settings(optimizer, workers)}
    while True:
        yield {"images_per_second": train(loader)}


if __name__ == "__main__":
    serve(plain_torch)
