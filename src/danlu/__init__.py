"""danlu trains vision models from one command and finds out what is wrong with a training."""

from __future__ import annotations

import importlib
import random
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> its module, imported on first use, so that `danlu --help` does not import torch. The imports for type
# checkers below have the same names; a test compares them.
_PUBLIC = {
    "train": "danlu.training.train",
    "pretrain": "danlu.training.pretrain",
    "evaluate": "danlu.inference.evaluate",
    "predict": "danlu.inference.predict",
    "load": "danlu.inference.load",
    "describe": "danlu.analysis.describe",
    "diagnose": "danlu.analysis.diagnose",
    "convert": "danlu.conversion.convert",
    "render": "danlu.rendering.render",
    "export": "danlu.deployment.export",
    "share": "danlu.deployment.share",
    "serve": "danlu.serving.serve",
    "heal": "danlu.healing.heal",
    "runs": "danlu.history.runs",
    "compare": "danlu.history.compare",
    "live": "danlu.following.live",
    "tune": "danlu.tuning.tune",
    "landscape": "danlu.analysis.landscape",
    "features": "danlu.analysis.features",
    "inspect": "danlu.analysis.inspect",
    "curvature": "danlu.doctor.curvature.summary",
    "build_model": "danlu.models.network_table",
    "watch": "danlu.doctor.start",
    "Callback": "danlu.own.callbacks",
    "TrainingState": "danlu.own.callbacks",
    "LightningDoctor": "danlu.doctor.adapters.lightning",
    "TransformersDoctor": "danlu.doctor.adapters.transformers",
    "Refusal": "danlu.refuse",
    "Failure": "danlu.refuse",
}
# Not in `from danlu import *`: they need libraries that danlu does not depend on.
_ADAPTERS = ("LightningDoctor", "TransformersDoctor")

if TYPE_CHECKING:
    from danlu.analysis.describe import describe as describe
    from danlu.analysis.diagnose import diagnose as diagnose
    from danlu.analysis.features import features as features
    from danlu.analysis.inspect import inspect as inspect
    from danlu.analysis.landscape import landscape as landscape
    from danlu.conversion.convert import convert as convert
    from danlu.deployment.export import export as export
    from danlu.deployment.share import share as share
    from danlu.doctor.adapters.lightning import LightningDoctor as LightningDoctor
    from danlu.doctor.adapters.transformers import TransformersDoctor as TransformersDoctor
    from danlu.doctor.curvature.summary import curvature as curvature
    from danlu.doctor.start import watch as watch
    from danlu.following.live import live as live
    from danlu.healing.heal import heal as heal
    from danlu.history.compare import compare as compare
    from danlu.history.runs import runs as runs
    from danlu.inference.evaluate import evaluate as evaluate
    from danlu.inference.load import load as load
    from danlu.inference.predict import predict as predict
    from danlu.models.network_table import build_model as build_model
    from danlu.own.callbacks import Callback as Callback
    from danlu.own.callbacks import TrainingState as TrainingState
    from danlu.refuse import Failure as Failure
    from danlu.refuse import Refusal as Refusal
    from danlu.rendering.render import render as render
    from danlu.serving.serve import serve as serve
    from danlu.training.pretrain import pretrain as pretrain
    from danlu.training.train import train as train
    from danlu.tuning.tune import tune as tune
else:
    __all__ = [name for name in _PUBLIC if name not in _ADAPTERS]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'danlu' has no attribute {name!r}")
    state = random.getstate()
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    random.setstate(state)  # rich draws a number when it is imported
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, "__version__"])


def load_ipython_extension(shell: Any) -> None:
    """Watch the trainings of a notebook: `%load_ext danlu`."""
    importlib.import_module("danlu.doctor.script.notebook").load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Stop watching and print the findings: `%unload_ext danlu`."""
    importlib.import_module("danlu.doctor.script.notebook").unload(shell)
