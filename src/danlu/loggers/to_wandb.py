"""Weights & Biases: offline in RUN/wandb unless $WANDB_MODE is set; `wandb sync` uploads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from danlu.run.folder import Run


class RunLogger:
    """Writes to a run of W&B; a resumed training continues the same id."""

    def __init__(self, run: Run, step: int) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else wandb reports its use to its maker, also offline
        import wandb  # pyright: ignore[reportMissingImports]

        known = run.read_json("wandb.json", default={})
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "danlu"),
            name=run.folder.name,
            tags=run.config.tags,
            dir=str(run.folder),
            id=known.get("id"),
            resume="allow" if known else None,
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
        )
        run.write_json("wandb.json", {"id": self.run.id})

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write a row; steps never decrease."""
        self.run.log(dict(values), step=step)

    def finish(self, settings: Mapping[str, Any], best: Mapping[str, float]) -> None:
        """Write settings and the metrics of the best epoch."""
        self.run.config.update(dict(settings), allow_val_change=True)
        for name, value in best.items():
            self.run.summary[f"best/{name.removeprefix('val/')}"] = value
        self.run.finish()
