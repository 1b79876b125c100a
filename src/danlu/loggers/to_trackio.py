"""trackio: a local database, shown by `trackio show`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.run.folder import Run


class RunLogger:
    """Writes to a run of the project danlu, by the name of the run folder; a resumed training continues it."""

    def __init__(self, run: Run, step: int) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        self.run = trackio.init(project="danlu", name=run.folder.resolve().name, resume="allow", embed=False)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write a row."""
        self.run.log(dict(values), step=step)

    def finish(self, settings: Mapping[str, Any], best: Mapping[str, float]) -> None:
        """Write the settings and the metrics of the best epoch as a last row."""
        self.run.config.update({key: str(value) for key, value in settings.items()})
        self.run.log({f"best/{name.removeprefix('val/')}": value for name, value in best.items()})
        self.run.finish()
