"""Refuse data, runs, configs, networks and ports that do not exist before torch is imported, which takes seconds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.config import load_yaml
from danlu.data.absent import no_data, no_such_data
from danlu.data.data_root import data_root
from danlu.data.known_sets import KNOWN
from danlu.following.target import checked_target
from danlu.listening import check_port
from danlu.message import message
from danlu.refuse import refusal
from danlu.run.archive import is_archive
from danlu.run.folder import Run

# Files with names of models that may have been added since model_names.txt was written.
MODEL_TABLES = ("models/network_table.py", "detection/detector_table.py", "segmentation/segmenter_table.py")


def refuse_missing(values: Mapping[str, Any]) -> None:
    """Raise Refusal for values of the command line that name data, a run or a config, if there is no such thing."""
    data = values.get("data.path") or values.get("data")
    if data and _is_missing(data):
        raise no_such_data(data)
    if "data.path" in values and not data and not (values.get("config") or values.get("resume")):
        raise no_data()
    if values.get("config"):
        load_yaml(values["config"])
    for run in (values.get("run"), *(values.get("runs") or ())):
        if run and _is_no_run(Path(run)):
            Run.open(run)  # which refuses it
    inspected = (values.get("model"), *(values.get("compare") or ())) if "compare" in values else ()
    for name in (values.get("model.name"), *inspected):
        if name and not _may_be_network(name):
            wanted = message("models.wanted.known_network_timm_name", "a known network, timm/NAME or torchvision/NAME")
            raise refusal("--model", wanted, name, near=_model_names())
    if values.get("port") is not None:
        check_port(values["port"])
    if "folder" in values and "port" in values:  # of danlu live
        checked_target(values["folder"])


def _model_names() -> list[str]:
    return Path(__file__).with_name("model_names.txt").read_text(encoding="utf-8").split()


def _may_be_network(name: str) -> bool:
    """Return whether a name may be one of the tables: listed, or written in their files since the list was made."""
    if not re.fullmatch(r"[\w-]+", name) or name in _model_names():
        return True  # timm/NAME, FILE.py:NAME
    package = Path(__file__).parents[1]
    tables = [*(package / "models" / "networks").glob("*.py"), *(package / table for table in MODEL_TABLES)]
    return any(f'"{name}"' in file.read_text(encoding="utf-8") for file in tables)


def _is_no_run(run: Path) -> bool:
    """Return whether a RUN is neither the folder of a run, nor a zip of one, nor a json of detections."""
    if run.is_dir():
        return not (run / "config.yaml").is_file()
    return not run.is_file() or not (run.suffix.lower() == ".json" or is_archive(run))


def _is_missing(data: str) -> bool:
    """Return whether a DATA is neither a path of something, nor a known name, nor stored under its name."""
    if ".py:" in data or "\0" in data or data in KNOWN or os.path.lexists(os.path.expanduser(data)):
        return False  # FILE.py:NAME is an object of the user
    root, plain = data_root(), os.path.basename(data) == data and "*" not in data
    return not (plain and ((root / data).exists() or any(root.glob(f"{data}-*"))))
