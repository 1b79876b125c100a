"""Weights and training state on disk: written atomically, read without executing code from the file."""

from __future__ import annotations

import io
import json
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from danlu.learning.sparse import plain_state
from danlu.refuse import Refusal, blame
from danlu.run.folder import write_atomically
from danlu.run.signature import Signature

STATE_KEYS = ("progress", "others", "fingerprint", "model", "optimizer", "precision", "plateau", "average")


def save_weights(path: Path, model: nn.Module, signature: Signature) -> None:
    """Save parameters and buffers as safetensors, with the signature in the header."""
    save_tensors(path, plain_state(model), signature)


def save_tensors(path: Path, state: Mapping[str, Tensor], signature: Signature | None) -> None:
    """Save named tensors as safetensors, with the signature in the header if there is one."""
    # safetensors refuses tensors that share memory, so each is cloned.
    own = {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}
    content = save(own, metadata={"danlu": signature.to_json()} if signature else None)
    write_atomically(path, lambda part: part.write_bytes(content))


def read_weights(path: Path) -> tuple[Signature, dict[str, Tensor]]:
    """Read weights and their signature. Raises Refusal if the file is missing, truncated, or not written by danlu."""
    signature, state = read_tensors(path)
    if signature is None:
        raise Refusal(f"weights file {path} has no danlu signature; it was not written by danlu train")
    return signature, state


def read_tensors(path: Path) -> tuple[Signature | None, dict[str, Tensor]]:
    """Read a safetensors file, and its signature if danlu wrote it. Raises Refusal if it is missing or damaged."""
    if not path.is_file():
        raise Refusal(f"weights file {path} does not exist; the run has not finished its first epoch")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (a file, not a dictionary)
    except OSError as error:
        raise blame(error, f"weights file {path}") from None
    except (SafetensorError, ValueError):
        why = "it was truncated or overwritten"
        raise Refusal(f"weights file {path} is damaged or not a safetensors file: {why}") from None
    try:
        return Signature.from_json(metadata["danlu"]) if "danlu" in metadata else None, state
    except json.JSONDecodeError:
        raise Refusal(f"weights file {path} has a damaged signature: it is not JSON") from None
    except (ValueError, TypeError) as error:
        raise Refusal(f"weights file {path} has a damaged signature: {error}") from None


def fill(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load `state` into `model`. Raises Refusal naming the first tensor that does not fit."""
    own = model.state_dict()
    for name in [*own, *state]:
        if name not in state or name not in own:
            lacks = "lacks" if name not in state else "has an unknown"
            raise Refusal(f"weights file {path} is of another network: it {lacks} tensor {name!r}")
        if own[name].shape != state[name].shape:
            raise Refusal(
                f"weights file {path} is of another network: tensor {name!r} is "
                f"{tuple(state[name].shape)}, the network's is {tuple(own[name].shape)}"
            )
    model.load_state_dict(state)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Save a training state, a dictionary with the keys of `STATE_KEYS`."""
    content = io.BytesIO()  # in memory first: torch.save hides the reason of a failed write
    torch.save(state, content)
    write_atomically(path, lambda part: part.write_bytes(content.getbuffer()))


def read_state(path: Path) -> dict[str, Any]:
    """Read a training state; only tensors and plain values are loaded. Raises Refusal if it is missing or damaged."""
    if not path.is_file():
        raise Refusal(f"--resume must be a run with a state.pt, but {path} does not exist; train it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle format
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        why = "it holds more than tensors and plain values, which could run code and is not read"
        raise Refusal(f"{path} is damaged and cannot be resumed from: {why}") from None
    except Exception:  # torch raises a dozen kinds for a damaged file
        raise Refusal(f"{path} is damaged and cannot be resumed from: it is truncated or not a checkpoint") from None
    lacking = [key for key in STATE_KEYS if not isinstance(state, dict) or key not in state]
    if lacking:
        raise Refusal(
            f"{path} is not a training state of danlu, it lacks {', '.join(map(repr, lacking))}; train it again"
        )
    return state
