"""Doctor callback for the Trainer of Hugging Face: Trainer(..., callbacks=[danlu.TransformersDoctor()])."""

from __future__ import annotations

from typing import Any

from transformers.trainer_callback import TrainerCallback  # pyright: ignore[reportMissingImports]

from danlu.doctor.adapters.callback_base import DoctorCallback


class TransformersDoctor(DoctorCallback, TrainerCallback):
    """Watch `trainer.train` in the process of rank 0. Arguments: see `DoctorCallback`."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._metrics: dict[str, float] = {}
        self._epochs = 0
        if state.is_world_process_zero:
            self._start(kwargs["model"])

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the previous epoch here: the Trainer evaluates after on_epoch_end."""
        if self._epochs:
            self._end_epoch()
        self._epochs += 1

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **kwargs: Any) -> None:
        self._metrics = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._end_epoch()
        self._stop()

    def _end_epoch(self) -> None:
        if self.doctor is not None and self.doctor.watching:
            self.doctor.epoch(**self._metrics)
            self._metrics = {}
            self.doctor.say_new(self.say)
