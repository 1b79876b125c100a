"""The files of the weights that a training keeps: of its best and of its last epoch, which may be the same."""

from __future__ import annotations

from danlu.engine.loop import Progress


def kept_weights(progress: Progress, *, kept_start: bool = False) -> list[tuple[str, ...]]:
    """Names of the files, those of the same weights in one tuple, the best first.

    kept_start: the best weights are those before the first epoch (`keep_start`).
    """
    same = progress.best_epoch == progress.epoch and not kept_start
    return [("best", "last")] if same else [("best",), ("last",)]
