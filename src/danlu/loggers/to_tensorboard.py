"""TensorBoard: event files in RUN/tensorboard; `tensorboard --logdir runs` shows all runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.run.folder import Run


class RunLogger:
    """Writes scalars, and at the end settings and best metrics in the same folder, so that they are one run."""

    def __init__(self, run: Run, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Steps after the checkpoint that a resumed training continues from are trained, and written, again.
        self.writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=step + 1 if step else None)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write scalars."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def finish(self, settings: Mapping[str, Any], best: Mapping[str, float]) -> None:
        """Write the table of hyper-parameters."""
        from torch.utils.tensorboard.summary import hparams

        simple = bool | int | float | str
        plain = {key: value if isinstance(value, simple) else str(value) for key, value in settings.items()}
        metrics = {f"best/{name.removeprefix('val/')}": value for name, value in best.items()}
        file = self.writer._get_file_writer()  # add_hparams would make a run of its own
        for summary in hparams(plain, metrics):
            file.add_summary(summary)
        for name, value in metrics.items():
            self.writer.add_scalar(name, value)
        self.writer.close()
