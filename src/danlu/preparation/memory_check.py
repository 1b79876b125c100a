"""Refuse networks and batches that do not fit in memory, before they are allocated.

The estimate is a lower bound: weights, gradients and the state of the optimiser, one batch, and the tensors kept for
the backward pass. The network is built without weights, on torch's meta device.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from danlu.config import ModelConfig, ResolvedConfig, keys
from danlu.data.memory import check_memory
from danlu.inspection.memory import kept_for_backward
from danlu.learning.optim import find_optimizer
from danlu.preparation.networks import network
from danlu.refuse import Refusal
from danlu.run.signature import Signature
from danlu.user_objects import is_own

FLOAT = 4  # bytes
BATCH_TENSORS = 3  # at least: the batch as bytes and as floats, and its augmented copy
LIKELY_MAPS = 64  # feature maps of the size of the image that a network keeps
# Smaller networks are not examined, because they fit on any machine and an examination takes a second.
LARGE_BATCH = 1 << 31  # bytes of a batch with LIKELY_MAPS feature maps
LARGE_OPTION = 4_096  # units, channels
LARGE_SIDE = 1_024  # pixels
SMALL_SIDE = 64  # pixels; compared with the images' size to find whether it makes the network large


def check_fits(config: ResolvedConfig, signature: Signature, device: torch.device) -> None:
    """Raise Refusal, naming the setting that is too large, if network or batch cannot fit on this machine."""
    batch = config.batch_size * LIKELY_MAPS * _image(signature)
    options = max((one for value in signature.options.values() for one in _integers(value)), default=0)
    large = batch >= LARGE_BATCH or options >= LARGE_OPTION or (signature.size or 0) >= LARGE_SIDE
    if is_own(config.model.name) or not large:
        return
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    copies = 2 + find_optimizer(config.optim.name).state  # weights and gradients
    parameters = _parameters(signature)
    if parameters is None:
        return
    needed = parameters * FLOAT * copies
    setting, value = _largest_option(signature, parameters)
    check_memory(needed, setting, value, f"{parameters:,} parameters in training", free)
    if signature.size is None:
        return
    image = BATCH_TENSORS * _image(signature)
    if not signature.task_spec.finds_objects and signature.pretrain is None:
        image = max(image, _kept_per_image(signature))
    check_memory(needed + 2 * image, "--size", signature.size, "two images in training", free)
    what = f"{config.batch_size:,} images of {signature.size} px in training"
    check_memory(needed + config.batch_size * image, "--batch-size", config.batch_size, what, free)


def _image(signature: Signature) -> int:
    """Bytes of one image or clip as floats; 0 without images."""
    return (signature.frames or 1) * (signature.channels or 1) * (signature.size or 0) ** 2 * FLOAT


def _integers(value: object) -> list[int]:
    values = value if isinstance(value, tuple | list) else (value,)
    return [one for one in values if isinstance(one, int)]


def _weightless(signature: Signature) -> nn.Module | None:
    """The network on the meta device; None if its construction reads weights."""
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.device("meta"):
            warnings.simplefilter("ignore")  # libraries warn about weights on the meta device
            return network(signature)
    except Refusal:
        raise
    except Exception:  # of any library: it is built with weights next
        return None


def _parameters(signature: Signature) -> int | None:
    model = _weightless(signature)
    return None if model is None else sum(one.numel() for one in model.parameters())


def _largest_option(signature: Signature, parameters: int) -> tuple[str, object]:
    """The setting without which the network has fewest parameters, with its value; --model where none matters."""
    best, found = parameters / 2, ("--model", signature.model)
    for setting, value, smaller in _smaller(signature):
        count = _parameters(smaller)
        if count is not None and count < best:
            best, found = count, (setting, value)
    return found


def _smaller(signature: Signature) -> Iterator[tuple[str, object, Signature]]:
    """Signatures with one setting at its default, or small images: the setting, its value, the signature."""
    for name, value in signature.options.items():
        detects = f"detect.{name}" in keys() and signature.task_spec.on_canvas
        if isinstance(value, int | tuple | list) and (detects or hasattr(ModelConfig(), name)):
            options = {key: other for key, other in signature.options.items() if key != name}
            shown = ",".join(map(str, value)) if isinstance(value, tuple | list) else value
            yield f"--{'detect' if detects else 'model'}.{name}", shown, replace(signature, options=options)
    if signature.size is not None and signature.size > SMALL_SIDE:
        yield "--size", signature.size, replace(signature, size=SMALL_SIDE)


def _kept_per_image(signature: Signature) -> int:
    """Bytes that autograd keeps of one image; 0 where the network cannot be traced without weights."""
    model = _weightless(signature)
    if model is None:
        return 0
    sample = torch.empty(1, *signature.input_shape, device="meta")
    try:
        return kept_for_backward(model, sample, 2) // 2
    except Exception:  # networks of libraries that read values of tensors
        return 0
