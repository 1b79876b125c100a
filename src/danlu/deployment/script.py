"""The predict.py beside an exported file."""

from __future__ import annotations

from pathlib import Path

from danlu.message import message
from danlu.refuse import refusal
from danlu.run.signature import Signature

NAME = "predict.py"
SCRIPTS = Path(__file__).parent / "scripts"
MARK = "written by danlu export"  # in the first line of the script: others are not overwritten


def check_script(file: Path, signature: Signature) -> None:
    """Refuse to overwrite another predict.py."""
    beside = file.parent / NAME
    if file.suffix != ".onnx" or _source(signature) is None or not beside.exists():
        return
    try:
        first = beside.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        first = ""
    if MARK not in first:
        raise refusal(
            "--out",
            message("deployment.wanted.folder_without_your_own", "in a folder without a {name} of your own", name=NAME),
            str(file),
        )


def write_script(file: Path, signature: Signature) -> Path | None:
    """Write predict.py into the folder of an ONNX file; None for images of other channels than grey and RGB."""
    source = _source(signature)
    if source is None:
        return None
    beside = file.parent / NAME
    beside.write_text(source.read_text(encoding="utf-8").replace("model.onnx", file.name), encoding="utf-8")
    return beside


def _source(signature: Signature) -> Path | None:
    """The script for a task; None if it cannot read the images."""
    if signature.channels not in (1, 3):
        return None
    spec = signature.task_spec
    return SCRIPTS / ("objects.py" if spec.finds_objects else "maps.py" if spec.labels_pixels else "images.py")
