"""`danlu diagnose RUN --landscape`: the training loss around a run's weights, and the path of the optimiser."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
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
from danlu.inference.load import load
from danlu.inference.loaded_run import LoadedRun
from danlu.message import Message, message
from danlu.preparation.assemble import make_batches, make_task, transforms
from danlu.preparation.networks import build_network
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.python_calls import python_names
from danlu.refuse import one_of, refusal
from danlu.report.landscape_page import write_landscape
from danlu.run.folder import Run
from danlu.run.result import Result
from danlu.tasks.task import SampleLossTask
from danlu.user_objects import using

DIRECTIONS = ("random", "eigenvectors")
POINTS = 25  # along each side of the plane
MAX_SAMPLES = 1024  # of the training set
MAX_SECONDS = 60.0  # for all losses; fewer samples are used where they would take longer
HALF_WIDTH = 0.1  # of a plane along unit vectors, as a fraction of the weights' norm
PATH_MARGIN = 0.3  # of a plane through the path, as a fraction of the path's length


@dataclass(frozen=True, eq=False, repr=False)
class RunLandscape(Result):
    """The training loss around the best weights of a run."""

    page: str  # the HTML page
    directions: str  # of the first plane: random or eigenvectors
    samples: int  # number of training samples over which the losses are averaged
    loss: float  # at the best weights
    path: dict[str, list[float]]  # "first", "epoch 5", ..., "best", "last" -> coordinates in the second plane, in order
    path_note: Message


@python_names()
def landscape(run: str | Path | Run, *, directions: str = "random", lang: str | None = None) -> RunLandscape:
    """Compute the loss on two planes through the run's best weights and write RUN/landscape.html.

    The first plane is spanned by `directions`: "random", each filter scaled to the norm of its weights (Li et al.,
    "Visualizing the Loss Landscape of Neural Nets", 2018), or the two "eigenvectors" of the Hessian with the largest
    eigenvalues. The second contains the initial, best and last weights; with the snapshots of `save_path` it is the
    plane of best fit to all of them. The initial weights are recomputed from the seed.

    Args:
        run: A run or its folder.
        directions: "random" or "eigenvectors".
        lang: Language of the page, en or zh; the run's by default.

    Returns:
        The page, the loss at the best weights, and the path of the weights in the second plane.

    Raises:
        Refusal: Detectors and ensembles.
    """
    one_of(
        "--directions", directions, DIRECTIONS, message("analysis.wanted.random_eigenvectors", "random or eigenvectors")
    )
    trained = load(run)
    trained.need_outputs("diagnose --landscape")
    language = with_values(trained.config, {"doctor.language": lang} if lang else {}).doctor.language
    if trained.signature.task_spec.finds_objects or trained.signature.members:
        raise refusal(
            "--landscape",
            message(
                "analysis.wanted.used_network_classifies_predicts",
                "used on one network that classifies or predicts numbers",
            ),
            trained.name,
        )
    with using(trained.objects):
        return _landscape(trained, directions, language)


def _landscape(trained: LoadedRun, directions: str, language: str) -> RunLandscape:
    """`landscape` with checked arguments."""
    prepared = prepare(trained.config, trained.weights("start"))
    objective = _objective(prepared, trained.weights("best"))
    plane = _plane(objective, directions)
    summary = trained.summary
    kept = {n: file for n, file in trained.snapshots().items() if n not in (summary.best_epoch, summary.epochs)}
    snapshots = {"first": build_network(prepared, prepared.config.seed).state_dict()}
    snapshots |= {f"epoch {n}": read_weights(file)[1] for n, file in kept.items()}
    snapshots["last"] = read_weights(trained.weights("last"))[1]
    path = _path_plane(objective, snapshots)
    places = {name: place.tolist() for name, place in zip(snapshots, path.path)}
    found: dict[str, Any] = {
        "directions": directions,
        "samples": objective.count,
        "loss": objective.value(),
        "path": _with_best(places, summary.best_epoch),
        "path_note": _path_note(summary.best_epoch, summary.epochs, len(kept)),
    }
    page = write_landscape(trained, plane, path, found, language)
    return RunLandscape(page=str(page), **found)


def _objective(prepared: Prepared, best: Path) -> Objective:
    """Mean training loss of the best weights, in eval mode, without augmentation.

    On at most MAX_SAMPLES samples, fewer where the planes would take longer than MAX_SECONDS.
    """
    model = build_network(prepared, prepared.config.seed)
    model.load_state_dict(read_weights(best)[1])
    model = model.to(prepared.device).eval()
    task = make_task(prepared)
    assert isinstance(task, SampleLossTask), "detectors are refused above"
    sample_loss = task.sample_loss

    def mean_loss(outputs: Any, targets: Tensor) -> Tensor:
        return sample_loss(outputs[0] if isinstance(outputs, tuple) else outputs, targets).mean()

    _, plain = transforms(prepared)
    generator = torch.Generator().manual_seed(prepared.config.seed)
    index = prepared.split.train[torch.randperm(len(prepared.split.train), generator=generator)[:MAX_SAMPLES]]
    batches = make_batches(prepared, index, plain, batch_size=min(256, len(index)))
    pairs = [(batch.inputs, batch.targets) for batch in batches.epoch()]
    one = Objective(model, mean_loss, pairs[:1])
    one.value()  # warm-up: the first call is slower
    affordable = MAX_SECONDS / (2 * POINTS**2 * _seconds(one.value))
    return Objective(model, mean_loss, pairs[: max(1, int(affordable))])


def _plane(objective: Objective, directions: str) -> Landscape:
    """The plane along filter-normalised random directions, or along the top eigenvectors."""
    if directions == "random":
        return draw_landscape(objective, random_directions(objective), span=1.0, points=POINTS)
    pairs = [(batch.inputs, batch.targets) for batch in objective.batches]
    top = curvature(objective.model, objective.loss_fn, pairs, top=2).top
    reach = HALF_WIDTH * max(objective.weights().norm().item(), 1.0)
    return draw_landscape(objective, [pair.vector for pair in top], span=reach, points=POINTS)


def _path_plane(objective: Objective, snapshots: dict[str, Any]) -> Landscape:
    """The plane through the initial, the best and the last weights.

    Where the best weights are the last, these span only a line, and the second direction is random.
    """
    path = [{name: state[name] for name in objective.parameters} for state in snapshots.values()]
    here = objective.weights()
    moved = [objective.flat(state.values()) - here for state in path]
    directions = path_directions(objective, path)
    if len(path) == 2 and moved[1].norm() < 1e-6 * moved[0].norm():
        along = moved[0] / moved[0].norm().clamp_min(1e-12)
        other = random_directions(objective, 1)[0]
        other = other - (other @ along) * along
        directions = [along, other / other.norm().clamp_min(1e-12)]
    reach = PATH_MARGIN * max(*(one.norm().item() for one in moved), 0.001)
    return draw_landscape(objective, directions, span=reach, points=POINTS, path=path)


def _with_best(places: dict[str, list[float]], best_epoch: int | None) -> dict[str, list[float]]:
    """Insert the best weights, the origin, at their epoch."""
    later = [name for name in places if name.startswith("epoch ") and int(name[6:]) > (best_epoch or 0)]
    after = (*later, "last")
    return {n: p for n, p in places.items() if n not in after} | {"best": [0.0, 0.0]} | {n: places[n] for n in after}


def _path_note(best: int | None, epochs: int | None, kept: int) -> Message:
    if kept:
        text = (
            "path: the weights of {kept} epochs, of the first (regenerated from the seed), the best and the last, "
            "projected onto the plane in which they differ most"
        )
        return message("landscape.path_note_kept", text, kept=kept)
    note = "path: straight lines between the first weights (regenerated from the seed), the best"
    rest = " and the last; `--save-path N` keeps others in between"
    if best and epochs:
        text = note + " (epoch {best} of {epochs})" + rest
        return message("landscape.path_note_epoch", text, best=best, epochs=epochs)
    return message("landscape.path_note", note + rest)


def _seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return max(time.perf_counter() - began, 1e-6)
