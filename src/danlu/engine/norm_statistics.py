"""Running statistics of batch norm, recomputed before each validation of a training with few batches per epoch.

A running mean over ten batches is one over several epochs there, of weights that training has left behind: while the
learning rate is at its peak, the validation loss explodes although the training loss falls. Statistics of the training
set with the present weights ("precise batch norm", Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021) do not lag.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from danlu.data.batches import Batches

MAX_BATCHES = 20  # per epoch; with more, running statistics follow the weights closely enough


class NormStatistics:
    """Recomputes the statistics of the batch norms of a network that training updates.

    batches: the training set without augmentation, shuffled. The passes run through a copy of the network, so that
    its observers do not take them for training or validation.
    """

    def __init__(self, module: nn.Module, batches: Batches) -> None:
        self.twin, self.batches = copy.deepcopy(module), batches
        for norm in _updated_norms(self.twin).values():
            norm.momentum = None  # the mean over all batches

    @torch.no_grad()
    def refresh(self, model: nn.Module) -> None:
        """Replace the running statistics of `model` by those of its present weights."""
        self.twin.load_state_dict(model.state_dict())
        norms = _updated_norms(self.twin)
        self.twin.eval()
        for norm in norms.values():
            norm.reset_running_stats()
            norm.train()
        for batch in self.batches.epoch():
            self.twin(batch.inputs)
        self.twin.train()
        for name, norm in norms.items():
            if not norm.num_batches_tracked:  # of a part that only runs with targets
                continue
            own = cast(nn.modules.batchnorm._BatchNorm, model.get_submodule(name))
            cast(Tensor, own.running_mean).copy_(cast(Tensor, norm.running_mean))
            cast(Tensor, own.running_var).copy_(cast(Tensor, norm.running_var))


def has_updated_norms(module: nn.Module) -> bool:
    """Return whether a network in training mode has batch norms whose running statistics are updated."""
    return bool(_updated_norms(module))


def _updated_norms(module: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    return {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training and part.running_mean is not None
    }
