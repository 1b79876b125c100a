"""`danlu train`: train a network on data, evaluate it and write a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from danlu.config import Config, load_yaml, new_config, with_values
from danlu.inference.loaded_run import LoadedRun
from danlu.loggers.table import check_loggers
from danlu.message import message, speaking, translated
from danlu.own.collect import collect, with_data
from danlu.own.naming import check_sendable
from danlu.own.recognition import WANTED, is_data, is_pair
from danlu.printing.console import TextConsole
from danlu.printing.edited import print_if_edited
from danlu.printing.lines import print_line
from danlu.progress.lines import StageLines
from danlu.progress.stages import showing
from danlu.python_calls import python_names
from danlu.refuse import Refusal, refusal
from danlu.run.folder import Run
from danlu.task_spec import TaskName
from danlu.training.folds import folds_unfinished, train_folds
from danlu.training.live_page import follow, live_page
from danlu.training.random_state import caller_state_kept
from danlu.training.train_run import new_job, resume_run, resumed_config, train_run
from danlu.user_objects import PREFIX, UserObjects, is_own, using

if TYPE_CHECKING:
    import torch
    from torch import nn


@python_names()
@caller_state_kept()
def train(
    data: Any = "",
    *more: Any,
    model: str | nn.Module | Callable[..., nn.Module] | Mapping[str, Any] | None = None,
    loss: str | Callable[..., Any] | Mapping[str, Any] | None = None,
    optimizer: str | type | Callable[..., torch.optim.Optimizer] | torch.optim.Optimizer | None = None,
    scheduler: str | Callable[..., Any] | None = None,
    metrics: Callable[..., Any] | Sequence[Any] | Mapping[str, Any] | None = None,
    transform: Callable[..., Any] | Sequence[Any] | Mapping[str, Any] | None = None,
    callbacks: Any = None,
    val: Any = None,
    test: Any = None,
    target: str | None = None,
    task: TaskName | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    size: int | None = None,
    augment: str | Mapping[str, Any] | None = None,
    pretrained: str | None = None,
    folds: int | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    devices: int | None = None,
    precision: str | None = None,
    out: str | Path | None = None,
    config: str | Path | None = None,
    resume: str | Path | Run | None = None,
    console: Console | None = None,
    quiet: bool = False,
    **settings: Any,
) -> LoadedRun:
    """Train a network on `data` and write a run folder.

    An argument that is None is left open: danlu chooses a value from the data and prints the reason.

    Args:
        data: A file, a folder or the name of a known data set; or a pair (inputs, targets) of tensors or arrays, a
            torch Dataset or DataLoader, a pandas DataFrame with `target`, a Hugging Face dataset; or (train, val) or
            (train, val, test) of these.
        more: Refused with the correct spelling: data are one argument, (inputs, targets), all others have names.
        model: Name of a network; or an nn.Module, which is copied, or a function that builds one, to which `classes`,
            `channels`, `size`, `inputs` and `shape` are passed where it has parameters of these names.
        loss: Name of a loss; or a function f(outputs, targets) that returns the mean, or one value per sample.
        optimizer: Name of an optimiser; or a class, a function of the parameters, or an optimiser of `model`.
        scheduler: Name of a schedule; or a scheduler class of torch, or a function of the optimiser.
        metrics: Besides the task's metrics: functions f(outputs, targets), metrics of torchmetrics, functions of
            scikit-learn; one, a list, or a mapping with names.
        transform: Of one sample (torchvision v2, albumentations, a function), or of a batch, f(inputs, targets); a list
            of both, or a pair (train, val). One that returns uint8 images is applied to training samples only.
        callbacks: Objects with methods of `danlu.Callback`, or functions called after every epoch; one or a list.
        val, test: Validation and test set: a fraction, a number of samples, a path, or data as `data`.
        target: Column to predict (tables).
        task: classify, multilabel, regress, detect, segment, semantic or pose.
        epochs: Passes over the training set.
        batch_size: Samples per batch, over all devices.
        lr: Peak learning rate.
        size: Side of the network's input images in pixels.
        augment: none, light or strong; or a mapping of the augmentation's settings.
        pretrained: Weights to start from: none, efficientnet-lite0, timm/NAME, a run or a .safetensors file.
        folds: Number of folds of a cross-validation.
        seed: Seed of shuffling, augmentation, initialisation and dropout.
        device: auto, cpu, cuda, cuda:0 or mps.
        devices: Number of processes (cpu) or GPUs that share each batch.
        precision: fp32, bf16 or fp16.
        out: Run folder; the next free runs/N by default.
        config: A YAML file to start from.
        resume: Folder of a run to continue. Objects of the user must be given again.
        console: Destination of the progress; standard output by default.
        quiet: Print nothing; the run's log holds what would be printed.
        settings: Any other setting (docs/python.md lists them), by dotted or nested name: `optim={"momentum": 0.8}`.

    Returns:
        The run: `run.metrics.test.accuracy`, `run.history`, `run.findings`, `run.predict(...)`, `run.model`.

    Raises:
        Refusal: Wrong input, in one sentence.
        Failure: The training fails.
        Interrupted: A signal stopped it; it can be resumed.
    """
    if more:
        raise _too_many(data, more)
    named = {
        "model": model, "loss": loss, "optimizer": optimizer, "scheduler": scheduler, "metrics": metrics,
        "transform": transform, "callbacks": callbacks, "target": target, "task": task, "epochs": epochs,
        "batch_size": batch_size, "lr": lr, "size": size, "augment": augment, "pretrained": pretrained, "folds": folds,
        "seed": seed, "device": device and str(device), "devices": devices, "precision": precision, "out": out,
        "val": None if is_data(val) else val, "test": None if is_data(test) else test,
    }  # fmt: skip
    plain, objects = collect({name: value for name, value in named.items() if value is not None} | settings)
    console = console or TextConsole(quiet=quiet)
    if resume is None:
        with _settings_of_new_run((data, val, test), config, plain, objects, console) as wanted:
            if wanted.data.folds and wanted.data.fold is None:
                return train_folds(wanted, console)
            return train_run(new_job(wanted, console), console)
    if config is not None or (isinstance(data, str | Path) and str(data)):
        text = "used without DATA and --config, which the run defines"
        raise refusal("--resume", message("training.wanted.used_without_data_config", text), str(data or config))
    folder = resume.folder if isinstance(resume, Run) else resume
    with showing(StageLines(console)):
        return _resume(folder, plain, (data, val, test), objects, console)


@contextmanager
def _settings_of_new_run(
    given: tuple[Any, Any, Any],
    config: str | Path | None,
    settings: dict[str, Any],
    objects: UserObjects,
    console: Console,
) -> Iterator[Config]:
    """Check what was asked for; yield the settings of a new run, with language, objects and live page in force.

    given, config: data, val and test, and config, as of `train`. settings: those that are given.
    """
    data, val, test = given
    base = new_config() if config is None else load_yaml(config)
    in_memory = is_data(data)
    if not in_memory and not isinstance(data, str | Path):
        raise refusal("DATA", WANTED, data)
    wanted = with_values(base, ({"data.path": str(data)} if not in_memory and str(data) else {}) | settings)
    _check_folds(wanted)
    check_loggers(wanted.log)
    with speaking(wanted.doctor.language), showing(StageLines(console)):
        if not in_memory and (is_data(val) or is_data(test)):
            wish = message("training.wanted.paths_sizes_where_data", "paths or sizes where DATA is a path")
            raise refusal("val and test", wish, type(val or test).__name__)
        wanted, objects = with_data(wanted, data, val, test, objects)
        if wanted.devices > 1:
            check_sendable(objects)
        with using(objects), live_page(wanted.live, console):
            yield replace(wanted, live=None)


def _too_many(data: Any, more: tuple[Any, ...]) -> Refusal:
    """Create the refusal of several positional arguments."""
    pair = len(more) == 1 and is_pair((data, more[0]))
    spelling = f"danlu.train({'(inputs, targets), ...' if pair else 'DATA, val=..., model=...'})"
    return Refusal(
        message(
            "training.refuse.danlu_train_takes_argument",
            "danlu.train takes one positional argument, DATA, got {count}; did you mean {spelling}?",
            count=1 + len(more),
            spelling=spelling,
        )
    )


def _check_folds(config: Config) -> None:
    """Refuse cross-validation settings that contradict each other."""
    data = config.data
    if data.refit and not data.folds:
        raise refusal(
            "--refit", message("training.wanted.omitted_without_folds", "omitted without --folds"), data.refit
        )
    if data.fold is not None and not data.folds:
        raise refusal(
            "data.fold", message("training.wanted.omitted_without_folds", "omitted without --folds"), data.fold
        )
    if data.folds and isinstance(data.val, int | float):
        raise refusal(
            "--val",
            message(
                "training.wanted.omitted_folds_uses_every",
                "omitted with --folds, which uses every fold for validation once",
            ),
            data.val,
        )


def _resume(
    folder: str | Path, settings: Mapping[str, Any], data: tuple[Any, Any, Any], objects: UserObjects, console: Console
) -> LoadedRun:
    """Continue a run, or a cross-validation. data: training, validation and test data given in Python."""
    run = Run.open(folder)
    with speaking(with_values(run.config, settings).doctor.language), run.locked():
        print_if_edited(console, run)
        run.check()
        config = resumed_config(run, settings)
        check_loggers(config.log)
        if config.callbacks and objects.callbacks is None:
            names = ", ".join(name.removeprefix(PREFIX) for name in config.callbacks)
            text = "callbacks {names} are not called: a run cannot save them; give callbacks= again"
            print_line(console, translated("training.no_callbacks", text, names=names))
        if is_own(config.data.path) and is_data(data[0]):
            _, objects = with_data(config, *data, objects)
        with using(objects), live_page(config.live, console):
            config = replace(config, live=None)
            follow(run)
            if folds_unfinished(run, config):
                return train_folds(config, console, run)
            return resume_run(run, config, console)
