"""The usual input pipeline for JPEG folders: ImageFolder and torchvision.transforms.v2 in a DataLoader."""

from __future__ import annotations

import time

import torch
from protocol import Answers, Job, serve
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2


def jpeg_torchvision(job: Job) -> Answers:
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(job["size"], antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    loader = DataLoader(
        ImageFolder(job["data"], transform),
        batch_size=job["batch"],
        shuffle=True,
        num_workers=job["workers"],
        persistent_workers=True,
    )
    yield {"settings": f"{job['workers']} persistent workers"}
    while True:
        began = time.perf_counter()
        images = sum(len(inputs) for inputs, _ in loader)
        yield {"images_per_second": images / (time.perf_counter() - began)}


if __name__ == "__main__":
    serve(jpeg_torchvision)
