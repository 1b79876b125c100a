"""State of the process that a training changes and its caller expects unchanged."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def caller_state_kept() -> Iterator[None]:
    """Restore the random states of Python, numpy and torch, the warning filters and the environment variables."""
    python, environment = random.getstate(), dict(os.environ)
    arrays = np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(), warnings.catch_warnings():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
