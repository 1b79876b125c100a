"""`NetworkSpec`: all facts about a network besides its layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class NetworkFacts:
    """Facts about the data from which a network of the user is built.

    classes: number of outputs. shape: of one input. channels, size: of images (C, size, size). frames: of clips
    (T, C, size, size). inputs: of rows (D,). None if the data have no such fact.
    """

    classes: int
    shape: tuple[int, ...]
    channels: int | None = None
    size: int | None = None
    inputs: int | None = None
    frames: int | None = None


@dataclass(frozen=True)
class NetworkSpec:
    """One entry of `NETWORKS` in a file of `models/networks/`, and so of `danlu.models.network_table.MODELS`.

    Args:
        build: (channels, size, classes, **options) -> module; (inputs, outputs, **options) if `tabular`. Its
            keyword-only arguments are the `ModelConfig` fields that the network accepts.
        description: One line for listings.
        paper: Where the network was published: authors and year. Empty for networks of a library.
        family: Name shared by the networks of one architecture, for example "resnet".
        tabular: Takes rows of numbers (N, inputs); images are flattened to rows of C * H * W numbers.
        min_size: Side of the smallest image it accepts, in pixels.
        multiple: The image side must be a multiple of this number of pixels.
        sizes: The only image sides it accepts, in pixels; empty if every side from `min_size` on works.
        default_input: (C, H, W) of the images, or (inputs,) of the rows it was designed for, used by `danlu inspect`.
        convex: Its loss is convex in the parameters. Decides default settings.
        residual: A residual network with batch norm. Decides default settings.
        clips: Takes clips (N, T, C, size, size); `channels` are those of a frame, and `default_input` is (T, C, H, W).
        distance_outputs: Its outputs are minus squared distances to class prototypes, not logits. Decides the loss.
        mixed: Builds the same network for images of different sizes on a canvas, whose last channel marks their pixels;
            None for networks that need one size.
        name: Name of a network of the user, whose `build` takes `NetworkFacts`; "" for the entries of tables.
    """

    build: Callable[..., nn.Module]
    description: str
    paper: str = ""
    family: str = ""
    tabular: bool = False
    min_size: int = 1
    multiple: int = 1
    sizes: tuple[int, ...] = ()
    default_input: tuple[int, ...] = (3, 224, 224)
    convex: bool = False
    residual: bool = False
    distance_outputs: bool = False
    clips: bool = False
    mixed: Callable[..., nn.Module] | None = None
    name: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """Fields of `ModelConfig` that the network accepts: the keyword-only arguments of `build`, and `init`."""
        parameters = inspect.signature(self.build).parameters.values()
        return (*(p.name for p in parameters if p.kind is p.KEYWORD_ONLY), "init")
