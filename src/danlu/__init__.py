"""danlu trains vision models from one command and says in plain words why training goes the way it goes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module it lives in. Loaded on first use, so that `danlu --help` need not import torch.
_PUBLIC = {
    "train": "danlu.training.train",
    "evaluate": "danlu.inference.evaluate",
    "predict": "danlu.inference.predict",
    "load": "danlu.inference.loaded_run",
    "describe": "danlu.analysis.describe",
    "diagnose": "danlu.analysis.diagnose",
    "heal": "danlu.healing.heal",
    "landscape": "danlu.analysis.landscape",
    "inspect": "danlu.analysis.inspect",
    "curvature": "danlu.doctor.curvature.summary",
    "build_model": "danlu.models.build",
    "watch": "danlu.doctor.watch",
    # These need Lightning or transformers, which danlu itself does not: they are left out of `from danlu import *`.
    "LightningDoctor": "danlu.doctor.adapters.lightning",
    "TransformersDoctor": "danlu.doctor.adapters.transformers",
    "Refusal": "danlu.refuse",
    "Failure": "danlu.refuse",
}
__all__ = [
    "Failure",
    "Refusal",
    "build_model",
    "curvature",
    "describe",
    "diagnose",
    "evaluate",
    "heal",
    "inspect",
    "landscape",
    "load",
    "predict",
    "train",
    "watch",
]

if TYPE_CHECKING:
    from danlu.analysis.describe import describe
    from danlu.analysis.diagnose import diagnose
    from danlu.analysis.inspect import inspect
    from danlu.analysis.landscape import landscape
    from danlu.doctor.adapters.lightning import LightningDoctor as LightningDoctor
    from danlu.doctor.adapters.transformers import TransformersDoctor as TransformersDoctor
    from danlu.doctor.curvature.summary import curvature
    from danlu.doctor.watch import watch
    from danlu.healing.heal import heal
    from danlu.inference.evaluate import evaluate
    from danlu.inference.loaded_run import load
    from danlu.inference.predict import predict
    from danlu.models.build import build_model
    from danlu.refuse import Failure, Refusal
    from danlu.training.train import train


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'danlu' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
