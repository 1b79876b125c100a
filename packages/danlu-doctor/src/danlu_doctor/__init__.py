"""Watch any PyTorch training loop and report what is wrong, with evidence and a fix."""

from __future__ import annotations

import importlib
from typing import Any

from danlu_doctor.doctor.curvature.summary import curvature
from danlu_doctor.doctor.finding import Finding
from danlu_doctor.doctor.start import watch
from danlu_doctor.doctor.watch import Doctor
from danlu_doctor.refuse import Refusal
from danlu_doctor.version import __version__

__all__ = ["Doctor", "Finding", "Refusal", "__version__", "curvature", "watch"]

# These need Lightning or transformers; they are imported on first use.
_CALLBACKS = {
    "LightningDoctor": "danlu_doctor.doctor.adapters.lightning",
    "TransformersDoctor": "danlu_doctor.doctor.adapters.transformers",
}


def __getattr__(name: str) -> Any:
    if name not in _CALLBACKS:
        raise AttributeError(f"module 'danlu_doctor' has no attribute {name!r}")
    return getattr(importlib.import_module(_CALLBACKS[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_CALLBACKS])
