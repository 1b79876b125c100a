"""MLflow: a run in mlflow.db beside the run folder, or at $MLFLOW_TRACKING_URI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from danlu.run.folder import Run

MAX_LENGTH = 6000  # characters of a parameter


class RunLogger:
    """Writes through a client, so that no global state of MLflow is changed; a resumed training continues its run."""

    def __init__(self, run: Run, step: int) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # else its import reports the use to its maker
        from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.folder.resolve().parent / 'mlflow.db'}"
        self.client = MlflowClient(tracking_uri=uri)
        known = run.read_json("mlflow.json", default={})
        if known.get("uri") != uri:
            found = self.client.get_experiment_by_name("danlu")
            experiment = found.experiment_id if found else self.client.create_experiment("danlu")
            made = self.client.create_run(experiment, run_name=run.folder.name)
            known = {"uri": uri, "run_id": made.info.run_id}
            run.write_json("mlflow.json", known)
        self.id = known["run_id"]

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write metrics."""
        for name, value in values.items():
            self.client.log_metric(self.id, name, value, step=step)

    def finish(self, settings: Mapping[str, Any], best: Mapping[str, float]) -> None:
        """Write parameters; MLflow refuses one that changed in a resumed run, so only new ones are written."""
        before = self.client.get_run(self.id).data.params
        for key, value in settings.items():
            if key not in before:
                self.client.log_param(self.id, key, str(value)[:MAX_LENGTH])
        for name, value in best.items():
            self.client.log_metric(self.id, f"best/{name.removeprefix('val/')}", value)
        self.client.set_terminated(self.id)
