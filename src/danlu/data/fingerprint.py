"""Fingerprint of a dataset's contents: shows whether a resumed run has the same samples as before."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from danlu.data.dataset import Dataset, ImageFiles, Samples
from danlu.data.label_maps import LabelMap

END_BYTES = 4096  # read at the start and at the end of each image file


def fingerprint(dataset: Dataset) -> str:
    """Hash of inputs, targets and class names, 64 hex digits.

    Image files are represented by their size and their first and last 4 KiB, which differ between any two photographs:
    a hundred thousand of them are then checked in seconds. Paths do not count, so that a data folder may be moved.
    Samples that a dataset of the user makes are represented by their targets alone.
    """
    digest = hashlib.sha256(repr((len(dataset), dataset.classes)).encode("utf-8", "surrogateescape"))
    inputs = dataset.inputs
    if isinstance(inputs, ImageFiles):
        for path in inputs.paths:
            digest.update(_ends(path))
    elif isinstance(inputs, Tensor):
        digest.update(inputs.contiguous().numpy().data)
    elif not isinstance(inputs, Samples):
        from pandas.util import hash_pandas_object

        hashes: Any = cast(Any, hash_pandas_object)(inputs, index=False)
        digest.update(np.asarray(hashes).data)
    if isinstance(dataset.targets, Tensor):
        digest.update(dataset.targets.contiguous().numpy().data)
    else:
        for one in dataset.targets:
            if isinstance(one, LabelMap):
                digest.update(one.described())
                continue
            for values in (one.boxes, one.labels, one.ignore):
                digest.update(values.contiguous().numpy().data)
    return digest.hexdigest()


def _ends(path: Path) -> bytes:
    """Size, first and last bytes of a file; empty if it cannot be read, which decoding reports."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(END_BYTES)
            file.seek(max(len(start), size - END_BYTES))
            return size.to_bytes(8, "little") + start + file.read(END_BYTES)
    except OSError:
        return b"-"
