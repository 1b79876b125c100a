"""Trained network of a weights file, or the networks of an ensemble."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from danlu.engine.checkpoint import fill, read_weights
from danlu.message import message
from danlu.preparation.networks import network
from danlu.refuse import Refusal
from danlu.run.signature import Signature
from danlu.user_objects import UserObjects, current, is_own, using

Member = tuple[Signature, nn.Module]


class TrainedNetwork:
    """One network, or several whose predictions are averaged.

    path: a weights file, read at once; the networks are built on first use. objects: of the user, with which the
    network was trained. Raises Refusal if the file is missing or damaged.
    """

    def __init__(self, path: Path, objects: UserObjects | None = None) -> None:
        self.path = path
        self.objects = current() if objects is None else objects
        self.signature, self._state = read_weights(path)
        self._copies: dict[tuple[torch.device, bool], list[Member]] = {}

    @cached_property
    def members(self) -> list[Member]:
        """Networks with their signatures: one pair, or one for each member of an ensemble.

        On the CPU, in eval mode. Each takes inputs normalised or encoded by its own signature.
        """
        signatures = self.signature.members or (self.signature,)
        try:
            with using(self.objects):
                networks = nn.ModuleList([network(one) for one in signatures])
        except (Refusal, TypeError, ValueError, RuntimeError) as error:
            if is_own(self.signature.model):
                raise
            raise Refusal(
                message(
                    "inference.refuse.weights_file_describes_network",
                    "weights file {path} describes a network that cannot be built: {error}",
                    path=self.path,
                    error=str(error),
                )
            ) from None
        fill(networks if self.signature.members else networks[0], self._state, self.path)
        return list(zip(signatures, networks.eval()))

    def members_on(self, device: torch.device, channels_last: bool = False) -> list[Member]:
        """`members` on `device`; copies are cached, the originals returned where nothing changes."""
        if device.type == "cpu" and not channels_last:
            return self.members
        place = device, channels_last
        if place not in self._copies:
            self._copies[place] = [(own, _moved(member, device, channels_last)) for own, member in self.members]
        return self._copies[place]

    def networks_on(self, device: torch.device) -> list[nn.Module]:
        """The networks of `members_on` without their signatures."""
        return [model for _, model in self.members_on(device)]


def _moved(model: nn.Module, device: torch.device, channels_last: bool) -> nn.Module:
    """Copy of a network on `device`, its 4-d weights in channels-last order if wanted."""
    moved = copy.deepcopy(model).to(device)
    return nn.Module.to(moved, memory_format=torch.channels_last) if channels_last else moved
