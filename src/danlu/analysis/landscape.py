"""`danlu doctor RUN --landscape`: the training loss around a run's weights, and the way the optimiser came there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from danlu.config import with_values
from danlu.doctor.curvature.landscape import Landscape, path_directions, random_directions
from danlu.doctor.curvature.landscape import landscape as draw_landscape
from danlu.doctor.curvature.objective import Objective
from danlu.doctor.curvature.summary import curvature
from danlu.engine.checkpoint import read_weights
from danlu.inference.trained_run import open_trained
from danlu.preparation.assemble import make_batches, make_task, transforms
from danlu.preparation.networks import build_network
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.refuse import one_of, refusal
from danlu.report.landscape_page import write_landscape
from danlu.run.folder import Run

DIRECTIONS = ("random", "eigenvectors")
POINTS = 25  # along each side of the plane
SAMPLES = 1024  # of the training set, at most
SECONDS = 60.0  # for all the losses; fewer samples where they would take longer
REACH = 0.1  # half the width of a plane along unit vectors, in lengths of the weights


def landscape(run: str | Path | Run, *, directions: str = "random", lang: str | None = None) -> dict[str, Any]:
    """Draw the loss over two planes through the run's best weights, into RUN/landscape.html.

    The first plane lies along `directions`: "random", filter by filter of the weights' own lengths (Li et al. 2018), or
    the two "eigenvectors" of greatest curvature. The second holds the first, the best and the last weights, which are
    all of the path that a run keeps; the first are drawn anew from the seed.

    lang: en or zh, the page's; the run's own by default.

    Gives {"page", "directions", "samples", "loss", "path", "path_note"}. Refusal for detectors and ensembles.
    """
    one_of("--directions", directions, DIRECTIONS, "random or eigenvectors")
    trained = open_trained(run)
    language = with_values(trained.config, {"doctor.language": lang} if lang else {}).doctor.language
    if trained.signature.task in ("detect", "segment") or trained.signature.members:
        raise refusal("--landscape", "used on one network that classifies or predicts numbers", trained.name)
    prepared = prepare(trained.config, trained.weights("start"))
    objective = _objective(prepared, trained.weights("best"))
    plane = _plane(objective, directions)
    snapshots = {
        "first": build_network(prepared, prepared.config.seed).state_dict(),
        "last": read_weights(trained.weights("last"))[1],
    }
    course = _course(objective, snapshots)
    summary = trained.summary
    found = {
        "directions": directions,
        "samples": objective.count,
        "loss": objective.value(),
        "path": {name: place.tolist() for name, place in zip(snapshots, course.path)},
        "path_note": _path_note(summary.get("best_epoch"), summary.get("epochs")),
    }
    page = write_landscape(trained, plane, course, found, language)
    return {"page": str(page)} | found


def _objective(prepared: Prepared, best: Path) -> Objective:
    """The mean training loss without augmentation, of the best weights, in eval mode, over as many samples as time
    allows."""
    model = build_network(prepared, prepared.config.seed)
    model.load_state_dict(read_weights(best)[1])
    model = model.to(prepared.device).eval()
    sample_loss = make_task(prepared).sample_loss  # type: ignore[attr-defined] (detectors are refused above)

    def mean_loss(outputs: Any, targets: Tensor) -> Tensor:
        return sample_loss(outputs[0] if isinstance(outputs, tuple) else outputs, targets).mean()

    _, plain = transforms(prepared)
    generator = torch.Generator().manual_seed(prepared.config.seed)
    part = prepared.split.train[torch.randperm(len(prepared.split.train), generator=generator)[:SAMPLES]]
    batches = make_batches(prepared, part, plain, batch_size=min(256, len(part)))
    pairs = [(batch.inputs, batch.targets) for batch in batches.epoch()]
    one = Objective(model, mean_loss, pairs[:1])
    one.value()  # the first call is slower
    affordable = SECONDS / (2 * POINTS**2 * _seconds(one.value))
    return Objective(model, mean_loss, pairs[: max(1, int(affordable))])


def _plane(objective: Objective, directions: str) -> Landscape:
    """Along random directions of the filters' own lengths, or along the top eigenvectors."""
    if directions == "random":
        return draw_landscape(objective, random_directions(objective), span=1.0, points=POINTS)
    pairs = [(batch.inputs, batch.targets) for batch in objective.batches]
    top = curvature(objective.model, objective.loss_fn, pairs, top=2).top
    reach = REACH * max(objective.weights().norm().item(), 1.0)
    return draw_landscape(objective, [pair.vector for pair in top], span=reach, points=POINTS)


def _course(objective: Objective, snapshots: dict[str, Any]) -> Landscape:
    """The plane through the first, the best and the last weights. Where the last are the best they span only a line,
    and a random direction of the same length is the second."""
    path = [{name: state[name] for name in objective.parameters} for state in snapshots.values()]
    here = objective.weights()
    moved = [objective.flat(state.values()) - here for state in path]
    ways = path_directions(objective, path)
    if moved[1].norm() < 1e-6 * moved[0].norm():
        along = moved[0] / moved[0].norm().clamp_min(1e-12)
        other = random_directions(objective, 1)[0]
        other = other - (other @ along) * along
        ways = [along, other / other.norm().clamp_min(1e-12)]
    reach = 0.3 * max(moved[0].norm().item(), 1e-3)
    return draw_landscape(objective, ways, span=reach, points=POINTS, path=path)


def _path_note(best: int | None, epochs: int | None) -> str:
    place = f" (epoch {best} of {epochs})" if best and epochs else ""
    return (
        f"path: a run keeps its best{place} and its last weights, and its first can be drawn again from the seed; "
        "what lies between them is not kept, so the path is drawn as straight lines"
    )


def _seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return max(time.perf_counter() - began, 1e-6)
