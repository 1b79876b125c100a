"""`Prepared`: data that are read, split and encoded, with every setting decided. One frozen type per kind of data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from danlu.config import ResolvedConfig
from danlu.data.batches import Decode
from danlu.data.dataset import Dataset, ImageFiles, Samples
from danlu.data.fingerprint import fingerprint
from danlu.data.inputs import Images
from danlu.data.label_maps import MapSet
from danlu.data.object_set import ObjectSet
from danlu.data.samples import SampleReader
from danlu.data.split import Split
from danlu.preparation.choices import Choice
from danlu.preparation.transfer import Transfer
from danlu.run.signature import Signature


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A training ready to be assembled: one of the five types below.

    signature: the network's input and output. device: where the training runs. images, columns: the inputs, one of
    them None. targets: of all samples, on the scale of the training. choices: values that danlu chose for open
    settings. transfer: trained weights to start from.
    """

    config: ResolvedConfig
    dataset: Dataset
    split: Split
    signature: Signature
    device: torch.device
    images: Images | None
    columns: Tensor | None
    targets: Tensor | ObjectSet | MapSet
    choices: tuple[Choice, ...] = ()
    transfer: Transfer | None = None

    @property
    def inputs(self) -> Tensor | ImageFiles | Samples:
        """Inputs of all samples: uint8 (N, C, S, S) in memory, image files, columns (N, D), or the user's tensors."""
        raise NotImplementedError

    @property
    def decoder(self) -> Decode | None:
        """Reads the inputs of a batch where they are not in memory."""
        return self.images.decoder if self.images is not None else None

    @property
    def objects(self) -> ObjectSet | None:
        """Targets of detection and segmentation."""
        return None

    @property
    def maps(self) -> MapSet | None:
        """Targets of semantic segmentation."""
        return None

    @cached_property
    def class_counts(self) -> Tensor | None:
        """Number of training samples per class (K,), int64; None for tasks other than classification.

        Of label maps the number of pixels, counted where the loss has class weights.
        """
        if self.maps is not None and self.config.loss.class_weights is not None:
            return self.maps.pixel_counts(self.split.train, len(self.dataset.classes))[:-1]
        targets = self.dataset.targets
        if self.dataset.task_spec.targets != "class" or not isinstance(targets, Tensor):
            return None
        return torch.bincount(targets[self.split.train], minlength=len(self.dataset.classes))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of samples, labels, split and signature; a resumed run compares it."""
        # Only what differs from the defaults, so that a version with one more field resumes the runs of this one.
        known = {one.name: getattr(self.signature, one.name) for one in fields(self.signature)}
        known = {one.name: known[one.name] for one in fields(self.signature) if known[one.name] != one.default}
        digest = hashlib.sha256(f"{fingerprint(self.dataset)} {sorted(known.items())!r}".encode())
        for index in (self.split.train, self.split.val, self.split.test):
            digest.update(index.numpy().tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class PreparedImages(Prepared):
    """Images to classify, or to predict numbers from."""

    images: Images
    columns: None = None
    targets: Tensor

    @property
    def inputs(self) -> Tensor | ImageFiles:
        """Images uint8 in memory, or files."""
        return self.images.source


@dataclass(frozen=True, kw_only=True)
class PreparedObjects(Prepared):
    """Images with objects to find."""

    images: Images
    columns: None = None
    targets: ObjectSet

    @property
    def inputs(self) -> Tensor | ImageFiles:
        """Images uint8 in memory, or files."""
        return self.images.source

    @property
    def objects(self) -> ObjectSet:
        """Boxes, labels and masks of all images."""
        return self.targets


@dataclass(frozen=True, kw_only=True)
class PreparedMaps(Prepared):
    """Images in which each pixel has a class."""

    images: Images
    columns: None = None
    targets: MapSet

    @property
    def inputs(self) -> Tensor | ImageFiles:
        """Images uint8 in memory, or files."""
        return self.images.source

    @property
    def maps(self) -> MapSet:
        """Label maps of all images."""
        return self.targets


@dataclass(frozen=True, kw_only=True)
class PreparedTable(Prepared):
    """Rows of a table."""

    images: None = None
    columns: Tensor
    targets: Tensor

    @property
    def inputs(self) -> Tensor:
        """Columns (M, F), float32."""
        return self.columns


@dataclass(frozen=True, kw_only=True)
class PreparedTensors(Prepared):
    """Tensors (N, ...) of the user, in memory or read sample by sample."""

    images: None = None
    columns: None = None
    targets: Tensor
    tensors: Tensor | Samples

    @property
    def inputs(self) -> Tensor | Samples:
        """Tensors (M, ...) in memory, or samples to be read."""
        return self.tensors

    @property
    def decoder(self) -> Decode | None:
        """Function by which workers read samples; None for tensors in memory."""
        return SampleReader(self.tensors, self.config.seed) if isinstance(self.tensors, Samples) else None
