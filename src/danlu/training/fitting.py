"""Prepare the fit of a network: restore the last checkpoint, attach display, checkpoints and doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from danlu.advice.fixes import fixes
from danlu.config import Config, dump_yaml
from danlu.engine.checkpoint import read_state
from danlu.engine.display import Display
from danlu.engine.doctor_watcher import DoctorWatcher
from danlu.engine.loop import Plan, Progress, Watcher, fit
from danlu.engine.processes import Agreement
from danlu.engine.saving import INTERRUPTED, PathKeeper, Saver, StopSignal
from danlu.learning.losses import class_weights
from danlu.loggers.watcher import LoggerWatcher
from danlu.message import speaking
from danlu.preparation.assemble import make_plan
from danlu.preparation.networks import network
from danlu.preparation.object_facts import record_object_facts
from danlu.preparation.pixel_facts import record_pixel_facts
from danlu.preparation.pose_facts import record_pose_facts
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.preparation.sample_facts import record_sample_facts
from danlu.printing.console import TextConsole
from danlu.printing.resumed import resumed_lines
from danlu.progress.stages import showing
from danlu.run.folder import Run
from danlu.run.record import Record
from danlu.training.conditions import check_conditions, conditions, edits
from danlu.user_objects import UserObjects, current, using

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class Fitting(NamedTuple):
    """Arguments of `engine.loop.fit`."""

    plan: Plan
    progress: Progress
    record: Record
    watchers: list[Watcher]
    stop: Callable[[], str | None]


@contextmanager
def ready_to_fit(
    fabric: Fabric,
    run: Run,
    prepared: Prepared,
    console: Console,
    stop: StopSignal,
    *,
    resume: bool,
    more_watchers: Sequence[Watcher] = (),
) -> Iterator[Fitting]:
    """Assemble a training and attach its watchers; called in every process, which passes the result to `fit`.

    fabric: launched. Checkpoints, metrics and the doctor's ledger are written to `run` by the first process. resume:
    continue from the last checkpoint, if there is one. more_watchers: notified after the doctor and before the
    checkpoint, which keeps their wish to stop.
    """
    config = prepared.config
    restored = resume and _has_checkpoint(run)
    plan = make_plan(prepared, fabric, restored=restored)
    saver = Saver(run, prepared.signature, prepared.fingerprint, conditions(config), config.save_every)
    display = Display(console, run.log)
    state = _read_state(run, config, display) if restored else {}
    progress = saver.restore(plan, state) if restored else Progress()
    record, watchers = Record(), list[Watcher]()
    first = fabric.global_rank == 0
    if first:
        record, watchers = _open_record(run, prepared, progress, resume), [display, saver]
        if config.save_path:
            watchers.insert(1, PathKeeper(run, prepared.signature, config.save_path))
    if first and resume:
        for line in resumed_lines(run, prepared, plan, progress):
            display.say(line)
    several = fabric.world_size > 1
    agreement = Agreement(stop, saver)
    if several:
        watchers.append(agreement)
    if first and (callbacks := current().callbacks) is not None:
        watchers.insert(0, callbacks.watcher())  # before the checkpoint, which saves their request to stop
    watchers[:0] = more_watchers if first else ()
    if first and config.log:
        watchers.append(LoggerWatcher(config.log, config, run, display.say))
    with display, showing(None), ExitStack() as stack:  # the display shows the training itself
        if first and config.doctor.budget:
            doctor = stack.enter_context(_doctor(plan, run, prepared, display, state.get("doctor")))
            watchers.insert(0, doctor)
            saver.doctor = doctor.doctor.state
        yield Fitting(plan, progress, record, watchers, agreement if several else stop)
        if not several and (progress.stopped or "").startswith(INTERRUPTED):
            saver.save(plan, progress)  # before the doctor closes its last epoch


def fit_worker(
    config: Config, objects: UserObjects, fabric: Fabric, stop: StopSignal, folder: str, quiet: bool, resume: bool
) -> Progress:
    """Body of each process of a multi-device training: read the data, then fit on a fraction of each batch."""
    run = Run.open(folder)
    console = TextConsole(stderr=True, quiet=quiet or fabric.global_rank > 0)
    with speaking(config.doctor.language), using(objects):
        prepared = prepare(config, run.weights("start"))
        with ready_to_fit(fabric, run, prepared, console, stop, resume=resume) as fitting:
            fit(*fitting)
            return fitting.progress


def _has_checkpoint(run: Run) -> bool:
    """Return whether a checkpoint was saved; a run that was killed before its first one starts from the beginning."""
    return run.state.exists() or bool(run.summary.epochs)


def _read_state(run: Run, config: Config, display: Display) -> dict[str, Any]:
    """Read the checkpoint; print its conditions where they differ from the present ones."""
    state = read_state(run.state)
    kept = state.get("conditions", {})
    for note in check_conditions(kept, config, run.name) + (edits(kept, config) if run.edited else []):
        display.say(str(note))
    return state


def _open_record(run: Run, prepared: Prepared, progress: Progress, resume: bool) -> Record:
    """Open metrics.jsonl, without the rows after the checkpoint."""
    if resume:  # only now: nothing can be refused any more
        run.report.unlink(missing_ok=True)  # of the epochs before
        run.write_text("config.yaml", dump_yaml(prepared.config))
    path = run.folder / "metrics.jsonl"
    record = Record.read(path) if progress.rows else Record(path)  # rows before the first checkpoint are not used
    record.cut(progress.rows, progress.rows_checksum)
    return record


def _doctor(
    plan: Plan, run: Run, prepared: Prepared, display: Display, restored: Mapping[str, Any] | None
) -> DoctorWatcher:
    """The doctor as a watcher, its ledger holding the facts about the data that it cannot measure itself.

    restored: its state in the checkpoint.
    """
    config = prepared.config
    fix = fixes(config, len(prepared.split.train), config.doctor.language)
    doctor_watcher = DoctorWatcher(plan, config, run, display.say, fix, restored, prepared.dataset)
    if prepared.objects is not None:
        model = network(prepared.signature)
        record_object_facts(doctor_watcher.doctor.ledger, prepared, model)
        record_pose_facts(doctor_watcher.doctor.ledger, prepared, model)
    record_pixel_facts(doctor_watcher.doctor.ledger, prepared)
    if config.loss.class_weights is not None and prepared.class_counts is not None:
        weights = class_weights(config.loss.class_weights, prepared.class_counts)
        doctor_watcher.doctor.ledger.add("loss.class_weights", weights.tolist())
    record_sample_facts(doctor_watcher.doctor.ledger, prepared)
    if config.loss.smoothing:
        doctor_watcher.doctor.ledger.add("loss.option", config.loss.smoothing, "label_smoothing")
    return doctor_watcher
