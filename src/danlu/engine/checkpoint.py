"""Weights and training state on disk: written atomically with a checksum, read without executing code from the file.

Weights carry a CRC-32 in the header of the safetensors file; state.pt is a zip file, which has one for each entry.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from danlu.learning.sparse import plain_state
from danlu.message import message
from danlu.refuse import Refusal, blame
from danlu.run.atomic import write_atomically
from danlu.run.folder import FEATURES
from danlu.run.signature import Signature

NO_CHECKSUM = "0" * 8  # placeholder in the header while the checksum is computed
READ_SIZE = 1 << 20  # bytes read at a time
TRAIN_AGAIN = message("engine.do.train_again", "train it again")
STATE_KEYS = ("progress", "others", "fingerprint", "model", "optimizer", "precision", "plateau", "average")


def save_weights(path: Path, model: nn.Module, signature: Signature) -> None:
    """Save parameters and buffers as safetensors, with the signature in the header."""
    save_tensors(path, plain_state(model), signature)


def save_tensors(path: Path, state: Mapping[str, Tensor], signature: Signature | None) -> None:
    """Save named tensors as safetensors, with the signature in the header if there is one."""
    # safetensors refuses tensors that share memory, so each is cloned.
    own = {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}
    content = memoryview(save(own))  # sliced below without a copy of the tensors
    start = 8 + struct.unpack("<Q", content[:8])[0]
    metadata = {"crc32": NO_CHECKSUM} | ({"danlu": signature.to_json()} if signature else {})
    header, tensors = _header(json.loads(bytes(content[8:start])), metadata), content[start:]
    checksum = f"{zlib.crc32(tensors, zlib.crc32(header)):08x}"
    header = header.replace(_checksum_entry(NO_CHECKSUM), _checksum_entry(checksum), 1)

    def write(part: Path) -> None:
        with part.open("wb") as file:
            file.write(header)
            file.write(tensors)

    write_atomically(path, write)


def read_weights(path: Path) -> tuple[Signature, dict[str, Tensor]]:
    """Read weights and their signature. Raises Refusal if the file is missing, truncated, or not written by danlu."""
    signature, state = read_tensors(path)
    if signature is None:
        raise Refusal(
            message(
                "engine.refuse.weights_file_danlu_signature",
                "weights file {path} has no danlu signature; it was not written by danlu train",
                path=path,
            )
        )
    return signature, state


def read_tensors(path: Path) -> tuple[Signature | None, dict[str, Tensor]]:
    """Read a safetensors file, and its signature if danlu wrote it. Raises Refusal if it is missing or damaged."""
    if not path.is_file():
        raise _missing(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "crc32" in metadata and _checksum(path, metadata["crc32"]) != metadata["crc32"]:
                raise Refusal(
                    message(
                        "engine.refuse.weights_file_damaged_checksum",
                        "weights file {path} is damaged: its checksum differs; {way_back}",
                        path=path,
                        way_back=way_back(path),
                    )
                )
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (a file, not a dictionary)
    except OSError as error:
        raise blame(error, f"weights file {path}") from None
    except (SafetensorError, ValueError):
        why = message("engine.why.truncated_overwritten", "it was truncated or overwritten")
        raise Refusal(
            message(
                "engine.refuse.weights_file_damaged_safetensors",
                "weights file {path} is damaged or not a safetensors file: {why}; {way_back}",
                path=path,
                why=why,
                way_back=way_back(path),
            )
        ) from None
    return _signature_of(metadata, path), state


def _missing(path: Path) -> Refusal:
    """The refusal of weights that are not there."""
    run = path.parent.parent
    if (run / "summary.json").is_file():
        text = (
            "weights file {path} is missing (a search removes those of its trials); "
            "`danlu train --config {config}` trains it again"
        )
        return Refusal(message("engine.refuse.weights_removed", text, path=path, config=run / "config.yaml"))
    text = "weights file {path} does not exist; the run has not finished its first epoch"
    return Refusal(message("engine.refuse.weights_file_does_exist", text, path=path))


def _signature_of(metadata: Mapping[str, str], path: Path) -> Signature | None:
    """The signature in the metadata of a weights file; None if danlu did not write it. Raises Refusal if damaged."""
    try:
        return Signature.from_json(metadata["danlu"]) if "danlu" in metadata else None
    except json.JSONDecodeError:
        raise Refusal(
            message(
                "engine.refuse.weights_file_damaged_signature",
                "weights file {path} has a damaged signature: it is not JSON",
                path=path,
            )
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise Refusal(
            message(
                "engine.refuse.checkpoint_weights_file_damaged_signature",
                "weights file {path} has a damaged signature: {error}",
                path=path,
                error=str(error),
            )
        ) from None


def _header(tensors: dict[str, Any], metadata: Mapping[str, str]) -> bytes:
    """Header of a safetensors file, with its length. safetensors itself would write the metadata in any order."""
    text = json.dumps({"__metadata__": metadata, **tensors}, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors are aligned to 8 bytes
    return struct.pack("<Q", len(text)) + text


def _checksum_entry(checksum: str) -> bytes:
    """The checksum entry of the header; quotes inside other metadata are escaped, so that it is found once."""
    return f'"crc32":"{checksum}"'.encode()


def _checksum(path: Path, written: str) -> str:
    """CRC-32 of a safetensors file in which the checksum `written` is replaced by zeros, 8 hex digits."""
    with path.open("rb") as file:
        length = file.read(8)
        header = file.read(struct.unpack("<Q", length)[0])
        checksum = zlib.crc32(length + header.replace(_checksum_entry(written), _checksum_entry(NO_CHECKSUM), 1))
        while piece := file.read(READ_SIZE):
            checksum = zlib.crc32(piece, checksum)
    return f"{checksum:08x}"


def way_back(path: Path) -> str:
    """Advice for a damaged weights file of a run."""
    if path.name == FEATURES:
        return message(
            "engine.do.remove_features", "remove it, and predictions are not compared with the training data"
        )
    other = {"best.safetensors": "last", "last.safetensors": "best"}.get(path.name)
    if other and path.with_name(f"{other}.safetensors").exists():
        return message("engine.do.other_weights", "use --weights {other}, or train it again", other=other)
    return TRAIN_AGAIN


def fill(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load `state` into `model`. Raises Refusal naming the first tensor that does not fit."""
    own = model.state_dict()
    for name in [*own, *state]:
        if name not in state or name not in own:
            if name not in state:
                text = "weights file {path} is of another network: it lacks tensor {name!r}"
                raise Refusal(message("engine.refuse.tensor_lacking", text, path=path, name=name))
            text = "weights file {path} is of another network: it has an unknown tensor {name!r}"
            raise Refusal(message("engine.refuse.tensor_unknown", text, path=path, name=name))
        if own[name].shape != state[name].shape:
            raise Refusal(
                message(
                    "engine.refuse.checkpoint_weights_file_another_network",
                    "weights file {path} is of another network: tensor {name!r} is {found}, the network's is {count}",
                    path=path,
                    name=name,
                    found=str(tuple(state[name].shape)),
                    count=str(tuple(own[name].shape)),
                )
            )
    model.load_state_dict(state)


def previous_state(path: Path) -> Path:
    """Path of the checkpoint before the one at `path`."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Save a training state, a dictionary with the keys of `STATE_KEYS`; the state before it is kept beside it."""
    content = io.BytesIO()  # in memory first: torch.save hides the reason of a failed write
    torch.save(state, content)
    if path.exists():
        write_atomically(previous_state(path), lambda part: _link(path, part))
    write_atomically(path, lambda part: part.write_bytes(content.getbuffer()))


def _link(path: Path, copy: Path) -> None:
    """Give a file a second name, or copy it where the file system has no hard links."""
    copy.unlink(missing_ok=True)
    try:
        os.link(path, copy)
    except OSError:
        shutil.copyfile(path, copy)


def read_state(path: Path) -> dict[str, Any]:
    """Read a training state; only tensors and plain values are loaded. Raises Refusal if it is missing or damaged."""
    if not path.is_file():
        raise Refusal(
            message(
                "engine.refuse.resume_run_state_pt",
                "--resume must be a run with a state.pt, but {path} does not exist; train it again",
                path=path,
            )
        )
    previous = previous_state(path)
    back = TRAIN_AGAIN
    if previous.exists():
        text = "`mv {previous} {path}` goes back to the checkpoint before it"
        back = message("engine.do.previous_state", text, previous=previous, path=path)
    damaged = message("engine.damaged", "{path} is damaged and cannot be resumed from", path=path)
    try:
        with zipfile.ZipFile(path) as file:
            intact = file.testzip() is None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle format
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        why = message(
            "engine.why.holds_more_tensors_plain",
            "it holds more than tensors and plain values, which could run code and is not read",
        )
        text = "{damaged}: {why}; {back}"
        raise Refusal(message("engine.refuse.unsafe_state", text, damaged=damaged, why=why, back=back)) from None
    except Exception:  # zipfile and torch raise a dozen kinds for a damaged file
        raise Refusal(
            message(
                "engine.refuse.truncated_checkpoint",
                "{damaged}: it is truncated or not a checkpoint; {back}",
                damaged=damaged,
                back=back,
            )
        ) from None
    if not intact:
        raise Refusal(
            message(
                "engine.refuse.checksum_differs", "{damaged}: its checksum differs; {back}", damaged=damaged, back=back
            )
        )
    lacking = [key for key in STATE_KEYS if not isinstance(state, dict) or key not in state]
    if lacking:
        raise Refusal(
            message(
                "engine.refuse.training_state_danlu_lacks",
                "{path} is not a training state of danlu, it lacks {listed}; train it again",
                path=path,
                listed=", ".join(map(repr, lacking)),
            )
        )
    return state
