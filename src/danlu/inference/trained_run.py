"""A run with its trained network, or with the several of an ensemble."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from danlu.engine.checkpoint import fill, read_weights
from danlu.preparation.networks import network
from danlu.refuse import Refusal, one_of
from danlu.run.folder import Run
from danlu.run.signature import Signature

Member = tuple[Signature, nn.Module]


class TrainedRun(Run):
    """A run folder whose weights can be used. weights_used: "best" or "last"."""

    weights_used = "best"

    @cached_property
    def _loaded(self) -> tuple[Signature, dict[str, Tensor]]:
        return read_weights(self.weights(self.weights_used))

    @property
    def signature(self) -> Signature:
        return self._loaded[0]

    @cached_property
    def members(self) -> list[Member]:
        """The trained network and what it takes: one pair, or those of an ensemble, whose predictions are averaged.

        On the CPU, in eval mode. Each takes inputs by its own signature.
        """
        (signature, state), path = self._loaded, self.weights(self.weights_used)
        signatures = signature.members or (signature,)
        try:
            networks = nn.ModuleList([network(one) for one in signatures])
        except (Refusal, TypeError, ValueError, RuntimeError) as error:
            raise Refusal(f"weights file {path} describes a network that cannot be built: {error}") from None
        fill(networks if signature.members else networks[0], state, path)
        return list(zip(signatures, networks.eval()))

    @property
    def model(self) -> nn.Module:
        """The trained network on the CPU, in eval mode; it takes normalised inputs (see `signature`).

        Refusal for an ensemble, whose members each take inputs of their own.
        """
        if len(self.members) > 1:
            raise Refusal(f"{self.name} is an ensemble of {len(self.members)} networks: use `members`, or `predict`")
        return self.members[0][1]

    def members_on(self, device: torch.device, channels_last: bool = False) -> list[Member]:
        """`members` in another place: copies, kept for the next time, wherever something has to change."""
        if device.type == "cpu" and not channels_last:
            return self.members
        place = f"{device} {channels_last}"
        if place not in self._copies:
            layout = torch.channels_last if channels_last else torch.preserve_format
            moved = [(s, copy.deepcopy(m).to(device).to(memory_format=layout)) for s, m in self.members]  # type: ignore[call-overload]
            self._copies[place] = moved
        return self._copies[place]

    @cached_property
    def _copies(self) -> dict[str, list[Member]]:
        return {}


def open_trained(run: str | Path | Run, weights: str | None = None) -> TrainedRun:
    """The run with the weights that are to be used: those of an open run, else the best, unless others are named."""
    if isinstance(run, TrainedRun) and weights in (None, run.weights_used):
        return run
    folder = run.folder if isinstance(run, Run) else Path(run)
    trained = TrainedRun(Run.open(folder).folder)
    trained.weights_used = one_of("--weights", weights or "best", ("best", "last"), "best or last")
    _ = trained.signature  # a missing or damaged file is said here, not at the first prediction
    return trained
