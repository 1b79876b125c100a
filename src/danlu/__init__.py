"""danlu trains vision models from one command and says in plain words why training goes the way it goes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module it lives in. Loaded on first use, so that `danlu --help` need not import torch.
_PUBLIC = {
    "train": "danlu.verbs.train",
    "evaluate": "danlu.verbs.evaluate",
    "predict": "danlu.verbs.predict",
    "load": "danlu.verbs.load",
    "describe": "danlu.verbs.describe",
    "diagnose": "danlu.verbs.doctor",
    "heal": "danlu.verbs.heal",
    "landscape": "danlu.verbs.landscape",
    "inspect": "danlu.verbs.inspect",
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
    from danlu.doctor.adapters.lightning import LightningDoctor as LightningDoctor
    from danlu.doctor.adapters.transformers import TransformersDoctor as TransformersDoctor
    from danlu.doctor.curvature.summary import curvature
    from danlu.doctor.watch import watch
    from danlu.models.build import build_model
    from danlu.refuse import Failure, Refusal
    from danlu.verbs.describe import describe
    from danlu.verbs.doctor import diagnose
    from danlu.verbs.evaluate import evaluate
    from danlu.verbs.heal import heal
    from danlu.verbs.inspect import inspect
    from danlu.verbs.landscape import landscape
    from danlu.verbs.load import load
    from danlu.verbs.predict import predict
    from danlu.verbs.train import train


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'danlu' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
