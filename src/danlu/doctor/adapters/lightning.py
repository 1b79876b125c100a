"""Doctor callback for Lightning: Trainer(callbacks=[danlu.LightningDoctor()])."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

try:
    from lightning.pytorch import Callback  # type: ignore
except ImportError:  # older package name
    from pytorch_lightning import Callback  # type: ignore

from danlu.doctor.adapters.callback_base import DoctorCallback


class LightningDoctor(DoctorCallback, Callback):
    """Watch `trainer.fit` in the process of rank 0. Arguments: see `DoctorCallback`.

    A LightningModule is rarely called as a module: its training_step calls a network inside it. The watched model is
    the first module called in the first batch, if it holds all trainable parameters. Otherwise (an encoder and a
    decoder called separately) each batch counts as one pass, and checks that rerun a batch are not available.
    """

    _parts: _Parts | None = None
    _first_call_handle: Any = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._module, self._parts = pl_module, None
            self._first_call_handle = register_module_forward_pre_hook(self._first_call)

    def _first_call(self, module: nn.Module, args: tuple) -> None:
        """Start watching at the first forward call inside training_step."""
        parts = set(self._module.modules())
        # DDP replaces forward by training_step.
        is_ddp_redirect = getattr(module.forward, "__func__", None) is not type(module).forward
        if module not in parts or is_ddp_redirect or not torch.is_grad_enabled():
            return
        self._remove_first_call_hook()
        owned = {id(p) for p in module.parameters()}
        whole = all(id(p) in owned for p in self._module.parameters() if p.requires_grad)
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if whole and not (module is self._module and distributed):
            # Layers are named as in the user's LightningModule.
            prefix = next(name for name, part in self._module.named_modules() if part is module)
            doctor = self._start(module, prefix=prefix)
        else:
            self._parts = _Parts(self._module)
            doctor = self._start(self._parts, replayable=False)
        if self._parts is None:
            doctor.attached_in_call(*args)
        else:
            doctor.forward_started(*args)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._open(pl_module, batch)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        self._close(loss)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._open(pl_module, batch)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._close(outputs)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Lightning calls this after validation."""
        if self.doctor is not None and self.doctor.watching:
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if value.numel() == 1}
            self.doctor.epoch(**metrics)
            self.doctor.say_new(self.say)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._remove_first_call_hook()
        self._stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._remove_first_call_hook()
        self._stop(exception)

    def _open(self, module: nn.Module, batch: Any) -> None:
        if self._parts is not None and self.doctor is not None and self.doctor.watching:
            self._parts.training = module.training
            self.doctor.forward_started(batch)

    def _close(self, outputs: Any) -> None:
        if self._parts is not None and self.doctor is not None and self.doctor.watching:
            self.doctor.forward_ended(outputs)

    def _remove_first_call_hook(self) -> None:
        if self._first_call_handle is not None:
            self._first_call_handle.remove()
            self._first_call_handle = None


class _Parts(nn.Module):
    """Container of the submodules of a module under their names; never called."""

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        for name, part in whole.named_children():
            self.add_module(name, part)
        for name, parameter in whole.named_parameters(recurse=False):
            self.register_parameter(name, parameter)  # type: ignore[arg-type]
        self.training = whole.training
