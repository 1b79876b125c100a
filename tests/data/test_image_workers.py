"""Images are read by worker processes, whatever the process that starts them has done before."""

import os
import subprocess
import sys

import numpy as np
from PIL import Image

PROGRAM = """
import sys
from pathlib import Path
import torch
from danlu.data.image_workers import load_images
torch.set_num_threads(2)
torch.randn(4_000_000).clone()  # starts the threads of OpenMP, which a forked process lacks
paths = [Path(sys.argv[1])] * 600
print(len(load_images(paths, 64, "rgb", workers=2)[0]))
"""
LIMIT = 120  # seconds; it takes a few


def test_workers_read_images_after_the_parent_has_computed_with_several_threads(tmp_path):
    path = tmp_path / "large.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (400, 500, 3), dtype=np.uint8)).save(path)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", PROGRAM, str(path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT, env=environment)
    assert done.stdout.strip() == "600", done.stderr
