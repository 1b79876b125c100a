"""danlu's input pipeline for JPEG folders: files to augmented, normalised float batches, without a network.

Without `cache`, worker processes decode and this process augments whole batches; with it, resized images are read from
a cache on disk (the first pass, which writes the cache, is not timed).
"""

from __future__ import annotations

import time

from protocol import Answers, Job, serve

from danlu.config import from_dict
from danlu.preparation.assemble import make_batches, transforms
from danlu.preparation.prepare import prepare


def jpeg_danlu(job: Job) -> Answers:
    config = {
        "data": {
            "path": job["data"],
            "val": 0,
            "test": 0,
            "size": job["size"],
            "colour": "rgb",
            "memory": False,
            "workers": job["workers"],
            "cache": job["cache"],
        },
        "model": "lenet",  # unused
        "batch_size": job["batch"],
        # The same settings as jpeg_torchvision.py.
        "augment": {
            "preset": "none",
            "area": [0.08, 1],
            "flip": "lr",
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.4,
        },
        "device": "cpu",
        "precision": "fp32",
        "channels_last": False,
    }
    prepared = prepare(from_dict(config))
    augment, _ = transforms(prepared)
    batches = make_batches(prepared, prepared.split.train, augment, batch_size=job["batch"], seed=0)
    yield {"settings": "from the cache" if job["cache"] else f"{job['workers']} workers"}
    epoch = 0
    while True:
        began = time.perf_counter()
        images = sum(len(batch.inputs) for batch in batches.epoch(epoch))
        yield {"images_per_second": images / (time.perf_counter() - began)}
        epoch += 1


if __name__ == "__main__":
    serve(jpeg_danlu)
