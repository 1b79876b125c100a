"""trackio: a local database, shown by `trackio show --project danlu`."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Mapping
from typing import Any

from danlu.config import changed
from danlu.run.folder import Run


class RunLogger:
    """Writes to a run of the project danlu; a resumed training continues it.

    Its name is that of the run folder with six digits, since run folders of several places share one database.
    """

    def __init__(self, run: Run, step: int) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        known = run.read_json("trackio.json", default={})
        name = known.get("name") or f"{run.folder.resolve().name}-{secrets.token_hex(3)}"
        settings = {key: str(value) for key, value in changed(run.config).items()}  # kept by the first row only
        with contextlib.redirect_stdout(sys.stderr):  # standard output is that of --json
            self.run = trackio.init(
                project="danlu",
                name=name,
                config=settings,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        run.write_json("trackio.json", {"name": name})

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write a row."""
        self.run.log(dict(values), step=step)

    def finish(self, settings: Mapping[str, Any], best: Mapping[str, float]) -> None:
        """Write the metrics of the best epoch as a last row; the settings are there."""
        self.run.log({f"best/{name.removeprefix('val/')}": value for name, value in best.items()})
        with contextlib.redirect_stdout(sys.stderr):
            self.run.finish()
