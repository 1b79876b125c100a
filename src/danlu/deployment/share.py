"""`danlu share`: a run as one zip file for other people, with a model card and without the data."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from danlu.config import dump_yaml
from danlu.deployment.card import model_card
from danlu.inference.load import load
from danlu.inference.loaded_run import LoadedRun
from danlu.message import message, unicode_text
from danlu.python_calls import python_names
from danlu.refuse import refusal
from danlu.run.archive import CARD, WEIGHTS, write_archive
from danlu.run.atomic import write_atomically
from danlu.run.folder import Run
from danlu.run.result import Result

# Fields of the summary that hold images or paths of the data.
PRIVATE = ("evaluation", "augmented")


@dataclass(frozen=True, eq=False, repr=False)
class Share(Result):
    """Result of `danlu.share`."""

    file: str
    run: str
    task: str
    model: str
    bytes: int
    contents: list[str]  # names in the zip


@python_names()
def share(
    run: str | Path | Run,
    *,
    out: str | Path | None = None,
    use: str | None = None,
    weights: str | None = None,
    model: Any = None,
    transform: Any = None,
) -> Share:
    """Write a run to one zip file: weights, signature, settings, metrics, findings and a model card.

    `danlu.load` and every verb that takes a run take the file as it is. Images of the data and the folder of the data
    are left out.

    Args:
        run: A run or its folder.
        out: The file, by default NAME.zip in the current folder.
        use: The intended use, for README.md in the zip.
        weights: "best" or "last".
        model, transform: Objects of your own, as for `load`.

    Returns:
        The file and its size in bytes.

    Raises:
        Refusal: Not a run, or a file that exists.
    """
    loaded = load(run, weights, model=model, transform=transform)
    loaded.need_outputs("share")
    file = Path(out) if out is not None else Path(f"{loaded.folder.resolve().name}.zip")
    if file.suffix.lower() != ".zip":
        raise refusal("--out", message("deployment.wanted.file_ends_zip", "a file that ends in .zip"), str(file))
    if file.exists():
        raise refusal(
            "--out",
            message("deployment.wanted.new_file", "a new file"),
            str(file),
            do=message("deployment.do.give_another_name", "give another name"),
        )
    if not file.parent.is_dir():
        raise refusal(
            "--out", message("deployment.wanted.file_folder_exists", "a file in a folder that exists"), str(file)
        )
    summary = {key: value for key, value in loaded.read_json("summary.json", default={}).items() if key not in PRIVATE}
    summary["run"] = loaded.folder.resolve().name
    if isinstance(data := summary.get("data"), dict):
        summary["data"] = data | {"path": Path(data.get("path", "")).name, "problems": []}
    contents: dict[str, str | Path] = {
        CARD: unicode_text(model_card(loaded, use, file.name)),
        "config.yaml": _public_config(loaded),
        "summary.json": _json(summary),
        "findings.json": _json(loaded.read_json("findings.json", default=[])),
        WEIGHTS: loaded.weights(loaded.weights_used),
    }
    if (record := loaded.folder / "metrics.jsonl").is_file():
        contents["metrics.jsonl"] = loaded.checked(record)
    write_atomically(file, lambda part: write_archive(part, contents))
    return Share(
        file=str(file),
        run=loaded.name,
        task=loaded.task,
        model=loaded.signature.model,
        bytes=file.stat().st_size,
        contents=[*contents],
    )


def _json(content: Any) -> str:
    """Json text, with escapes for bytes of names that are not UTF-8."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _public_config(run: LoadedRun) -> str:
    """The run's settings without folders of this computer."""
    config = run.config
    init = config.transfer.init
    if init is not None and Path(init).exists():
        config = replace(config, transfer=replace(config.transfer, init=Path(init).name))
    data = replace(config.data, path=Path(config.data.path).name, cache=None)
    return dump_yaml(replace(config, data=data))
