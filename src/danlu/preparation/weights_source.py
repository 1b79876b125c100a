"""Trained weights to start from: a run, a file, a packaged network or published weights of timm."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.config import Config
from danlu.detection.detector_table import DETECTORS
from danlu.engine.checkpoint import read_tensors
from danlu.message import message
from danlu.models.library import timm_weights
from danlu.models.packaged import PACKAGED, PackagedWeights
from danlu.refuse import Refusal, refusal
from danlu.run.folder import Run
from danlu.run.signature import Signature
from danlu.segmentation.segmenter_table import SEGMENTERS

PUBLISHED = "timm:pretrained"
PICKLED = (".pt", ".pth")
ON_A_BACKBONE = (*DETECTORS, *(name for name, one in SEGMENTERS.items() if one.any_backbone))


@dataclass(frozen=True)
class Source:
    """Trained weights by tensor name, with the signature of their network where the file has one.

    name: as the user wrote it.
    """

    name: str
    state: dict[str, Tensor]
    signature: Signature | None = None


def open_source(config: Config, kept: Path | None = None) -> Source | None:
    """Load the weights that `--init` names; None without it.

    kept: the run's own copy, read instead if it exists, so that a run can be resumed without its source. Raises Refusal
    when there are no weights under that name, or they are damaged.
    """
    init = config.transfer.start
    if init is None:
        return None
    if config.model.pretrained:
        raise refusal("--model.pretrained", message("preparation.wanted.omitted_init", "omitted with --init"), True)
    if kept is not None and kept.is_file():
        return _read(init, kept)
    if init == PUBLISHED or init.startswith("timm/"):
        return _published(config)
    if init in PACKAGED:
        return _packaged(config, PACKAGED[init])
    path = Path(init)
    if (path / "config.yaml").is_file():
        return _pretrained_backbone(_read(init, Run(path).weights("best")), config)
    if path.is_file() and path.suffix in (".safetensors", *PICKLED):
        return _pretrained_backbone(_read(init, path), config)
    beside = path.parent if path.parent.is_dir() else Path("runs")
    near = [str(one.parent) for one in sorted(beside.glob("*/config.yaml"))]
    near += [str(one) for one in sorted(beside.glob("*.safetensors"))]
    wanted = message(
        "preparation.wanted.run_safetensors_pt_pth",
        "a run, a .safetensors, .pt or .pth file, none, timm/NAME (published weights) or {packaged} (installed)",
        packaged=[*PACKAGED],
    )
    raise refusal("--init", wanted, init, near=[*near, "none", *PACKAGED])


def _published(config: Config) -> Source:
    init = config.transfer.init or ""
    library, _, name = (init if init.startswith("timm/") else config.model.name or "").partition("/")
    if library != "timm":
        do = message("preparation.do.name_published", "--init timm/NAME names the network and its weights at once")
        wanted = message("preparation.wanted.timm_name", "timm/NAME")
        raise refusal(f"--model with --init {PUBLISHED}", wanted, config.model.name, do=do)
    found = timm_weights(name, config.data.side or 224)
    shape = {"channels": found.channels, "mean": found.mean, "std": found.std}
    return Source(init, found.state, Signature(task="classify", model=f"timm/{name}", **shape))


def _packaged(config: Config, weights: PackagedWeights) -> Source:
    """Weights that an installed package contains. Raises Refusal if the config names another network."""
    model = f"timm/{weights.network}"
    if config.model.name not in (None, model, *ON_A_BACKBONE):
        raise refusal(f"--model with --init {weights.name}", model, config.model.name)
    shape = {"channels": len(weights.mean), "mean": weights.mean, "std": weights.std}
    return Source(weights.name, weights.load().state, Signature(task="classify", model=model, **shape))


def _pretrained_backbone(source: Source, config: Config) -> Source:
    """The backbone of a pretraining as weights of a classifier without a head; other sources unchanged.

    Raises Refusal if the config names another network.
    """
    then = source.signature
    if then is None or then.task_spec.targets != "none":
        return source
    if config.model.name not in (None, then.model, *ON_A_BACKBONE):
        do = message("preparation.do.leave_model_out", "leave --model out to use the network of the source")
        raise refusal(f"--model with --init {source.name}", then.model, config.model.name, do=do)
    prefix = "backbone.network." if then.model.startswith("timm/") else "backbone."
    state = {name.removeprefix(prefix): one for name, one in source.state.items() if name.startswith(prefix)}
    return Source(source.name, state, replace(then, task="classify"))


def _read(name: str, path: Path) -> Source:
    signature, state = (None, _read_pickled(path)) if path.suffix in PICKLED else read_tensors(path)
    if signature is not None and signature.members:
        raise refusal(
            "--init",
            message("preparation.wanted.weights_network", "weights of one network"),
            name,
            do=message("preparation.do.ensemble_name_folds", "it is an ensemble: name one of its folds"),
        )
    return Source(name, state, signature)


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """Read a state dict saved by torch, also under the key `model` or `state_dict`, without running the file's code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the pickle format
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        why = message(
            "preparation.why.contains_objects_other_tensors",
            "it contains objects other than tensors and plain values, which could run code",
        )
        raise Refusal(
            message(
                "preparation.refuse.weights_file_read", "weights file {path} is not read: {why}", path=path, why=why
            )
        ) from None
    except Exception:  # torch raises many types for a damaged file
        raise Refusal(
            message(
                "preparation.refuse.weights_file_damaged_truncated",
                "weights file {path} is damaged: it is truncated or was not saved by torch",
                path=path,
            )
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not tensors:
        raise Refusal(
            message(
                "preparation.refuse.weights_file_contains_named",
                "weights file {path} contains no named tensors",
                path=path,
            )
        )
    for prefix in ("module.", "_orig_mod."):  # of a network wrapped by DDP or torch.compile
        if all(str(key).startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors
