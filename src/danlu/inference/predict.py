"""`danlu predict`: what a trained network says of images or rows without labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from danlu.config import Config, with_values
from danlu.data.augment import Normalise, views
from danlu.data.columns import ColumnEncoder, TargetScaler
from danlu.data.formats import OBJECTS
from danlu.data.images import Colour, decode, read_image
from danlu.data.sources.csv import read_rows
from danlu.engine.device import pick_device
from danlu.inference.detect import find
from danlu.inference.inputs import Given, beside, images_given, output_folder, output_name
from danlu.inference.trained_run import Member, open_trained
from danlu.refuse import refusal
from danlu.run.folder import Run
from danlu.run.signature import Signature
from danlu.tasks.classify import probabilities

__all__ = ["predict"]
CHUNK = 256


def predict(
    run: str | Path | Run,
    *inputs: Any,
    top: int | str = 3,
    out: str | Path | None = None,
    weights: str | None = None,
    device: str | None = None,
    tta: bool | str | None = None,
    score: float | str | None = None,
) -> list[dict[str, Any]]:
    """One dictionary per image or row, in their order.

    inputs: image files, folders of images (whatever is one by its content, hidden files apart), arrays (H, W),
    (H, W, C) or (N, H, W, C) of uint8, PIL images; for a network of table rows csv files, DataFrames or arrays
    (N, D); for a network that finds objects also videos. The path of what lies in memory is "array 0", "array 1", ...
    out: folder for the images with the prediction on them. top: classes named for each. score: least score of an
    object that is told.

    classify: {"path", "class", "confidence", "top": [[class, share], ...]}; regress: {"path", "value"}, several target
    columns as {"path", "values": {...}}; detect and segment: {"path", "objects": [...]}, see `inference/detect.py`. An
    image in a folder that cannot be read gets {"path", "error"}; one that was named itself is refused.
    """
    trained = open_trained(run, weights)
    settings = {"device": device, "tta": tta, "detect.score": score}
    config = with_values(trained.config, {k: v for k, v in settings.items() if v is not None})
    if not str(top).isdigit() or int(top) < 1:
        raise refusal("--top", "a whole number of at least 1", top)
    if not inputs:
        raise refusal("PATH", "at least one file, folder or array", "none")
    where = pick_device(config.device)
    if trained.signature.task in OBJECTS:
        return find(trained, where, inputs, config, out)
    if score is not None:
        raise refusal("--score", "left out where no objects are to be found", score)
    members = trained.members_on(where)
    if trained.signature.columns is not None:
        if out is not None:
            raise refusal("--out", "left out for a network of table rows", str(out))
        return _rows(trained.signature, members, where, inputs)
    colour: Colour = "grey" if trained.signature.channels == 1 else "rgb"
    found = list(images_given(inputs, partial(read_image, size=trained.signature.canvas or 1, colour=colour)))
    readable = [one.read for one in found if one.read is not None]
    answers = iter(_answers(members, where, readable, config) if readable else ())
    results = [
        {"path": one.name}
        | ({"error": one.reason} if one.read is None else _said(trained.signature, next(answers), int(top)))
        for one in found
    ]
    if out is not None:
        _draw(Path(out), found, results)
    return results


def _answers(members: Sequence[Member], where: torch.device, images: Sequence[np.ndarray], config: Config) -> Tensor:
    """Means over the members (N, K) on the CPU: probabilities, or values in the user's units; see `_answer`."""
    parts = []
    for start in range(0, len(images), CHUNK):
        raw = torch.from_numpy(np.stack(images[start : start + CHUNK])).to(where)
        several = []
        for signature, network in members:
            normalise = Normalise(size=signature.size, mean=signature.mean, std=signature.std)
            batch, _ = normalise(raw, None, torch.zeros(len(raw)), None)
            seen = views(batch, config.augment) if config.tta else [batch]
            several += [_answer(signature, network, view) for view in seen]
        parts.append(torch.stack(several).mean(0))
    return torch.cat(parts)


@torch.no_grad()
def _answer(signature: Signature, network: torch.nn.Module, inputs: Tensor) -> Tensor:
    """Inputs as the network takes them -> (N, K) on the CPU: probabilities, or values in the user's units."""
    outputs = network(inputs).float()
    if signature.task == "classify":
        return probabilities(outputs).cpu()
    return TargetScaler.from_dict(signature.target_scale or {}).inverse(outputs.cpu())


def _said(signature: Signature, answer: Tensor, top: int) -> dict[str, Any]:
    if signature.task == "classify":
        shares, places = answer.topk(min(top, len(signature.classes)))
        named = [[signature.classes[i], round(s, 6)] for i, s in zip(places.tolist(), shares.tolist())]
        return {"class": named[0][0], "confidence": named[0][1], "top": named}
    values = answer.tolist()
    if len(values) == 1:
        return {"value": values[0]}
    return {"values": dict(zip(signature.target_names, values))}


def _rows(
    signature: Signature, members: Sequence[Member], where: torch.device, inputs: Iterable[Any]
) -> list[dict[str, Any]]:
    import pandas

    encoder = ColumnEncoder.from_dict(signature.columns or {})
    encoders = [ColumnEncoder.from_dict(own.columns or {}) for own, _ in members]
    results = []
    for given in inputs:
        name, frame = "row", given
        if isinstance(given, str | Path):
            name, path = str(given), Path(given)
            if not path.is_file():
                raise refusal("PATH", "an existing csv file", name, near=beside(path))
            frame = read_rows(path)
        elif not isinstance(given, pandas.DataFrame):
            rows = np.atleast_2d(np.asarray(given, dtype=np.float32))
            names = [column.name for column in encoder.columns]
            if rows.shape[1] != len(names):
                raise refusal("the rows", f"{len(names)} columns wide ({', '.join(names[:8])} ...)", rows.shape[1])
            frame = pandas.DataFrame(rows, columns=names)
        frame = frame.drop(columns=[c for c in signature.target_names if c in frame.columns])
        each = [_answer(*member, own.transform(frame, name).to(where)) for member, own in zip(members, encoders)]
        answers = torch.stack(each).mean(0)
        results += [{"path": f"{name} {i + 1}"} | _said(signature, answer, 3) for i, answer in enumerate(answers)]
    return results


def _draw(out: Path, found: Sequence[Given[np.ndarray]], results: Sequence[dict[str, Any]]) -> None:
    """Each image with its prediction, at the size of the file, under the name of the file."""
    from danlu.report.images import annotate

    folder = output_folder(out)
    taken: set[str] = set()
    for one, result in zip(found, results):
        if one.read is None:
            continue
        whole = np.asarray(decode(one.source)).transpose(2, 0, 1) if isinstance(one.source, Path) else one.read
        text = f"{result['class']} {result['confidence']:.0%}" if "class" in result else f"{result.get('value', '')}"
        image = annotate(torch.from_numpy(np.ascontiguousarray(whole)), text)
        image.save(folder / output_name(one.name, taken))
