"""Sort the arguments of `danlu.train` into plain settings and objects of the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from danlu.config import SHORT_FLAGS, Config, with_values
from danlu.own.callbacks import OwnCallbacks
from danlu.own.data import open_data
from danlu.own.files import check_reference, is_reference, load_reference
from danlu.own.labels import UNKNOWN_LOSS
from danlu.own.loss import OwnLoss
from danlu.own.metrics import OwnMetrics
from danlu.own.model import network_spec
from danlu.own.optimizer import own_optimizer
from danlu.own.recognition import is_data
from danlu.own.scheduler import OwnScheduler
from danlu.own.transform import OwnTransform
from danlu.user_objects import PREFIX, UserObjects

# Setting -> kind of the object that may be given for it.
KINDS = {
    "model.name": "model",
    "loss.name": "loss",
    "optim.name": "optimizer",
    "schedule.name": "scheduler",
    "metrics": "metrics",
    "data.transform": "transform",
    "callbacks": "callbacks",
}
ALWAYS_OBJECTS = ("metrics", "callbacks", "data.transform")  # settings that have no plain values


def collect(settings: Mapping[str, Any]) -> tuple[dict[str, Any], UserObjects]:
    """Settings with names in the place of objects, and the objects.

    settings: of `danlu.train`. Text of the form FILE.py:NAME is replaced by what the file has under that name, since
    the user typed it. Raises Refusal for an object that cannot be used.
    """
    plain, given = {}, dict[str, Any]()
    for name, value in settings.items():
        key = SHORT_FLAGS.get(name, name)
        kind = KINDS.get(key)
        if kind is None or value is None:
            plain[name] = value
            continue
        value = _referenced(kind, value)  # noqa: PLW2901
        if isinstance(value, str | Mapping) and key not in ALWAYS_OBJECTS:
            plain[name] = value
        else:
            given[key] = value
    objects = _objects(given)
    for key in given:
        own = getattr(objects, KINDS[key])
        plain[key] = list(own.names) if key in ("metrics", "callbacks") else own.name
    return plain, objects


def _referenced(kind: str, value: Any) -> Any:
    """Replace each FILE.py:NAME by the object; other values are returned as they are."""
    if kind in ("metrics", "callbacks") and isinstance(value, str) and "," in value:
        return [_referenced(kind, one) for one in value.split(",")]
    if is_reference(value):
        return load_reference(kind, value)
    if isinstance(value, str):
        check_reference(kind, value)
    return value


def _objects(given: Mapping[str, Any]) -> UserObjects:
    def made(key: str, make: Any, *more: Any) -> Any:
        return make(given[key], *more) if key in given else None

    return UserObjects(
        model=made("model.name", network_spec),
        loss=made("loss.name", OwnLoss),
        optimizer=made("optim.name", own_optimizer, given.get("model.name")),
        scheduler=made("schedule.name", OwnScheduler),
        metrics=made("metrics", OwnMetrics),
        transform=made("data.transform", OwnTransform),
        callbacks=made("callbacks", OwnCallbacks),
    )


def with_data(config: Config, data: Any, val: Any, test: Any, objects: UserObjects) -> tuple[Config, UserObjects]:
    """The config and the objects, with data given in Python; unchanged if it is a path or a name.

    A DataLoader's batch size and workers are used where the config leaves them open. Where a validation set is given,
    no test set is cut from the training samples.
    """
    if not is_data(data):
        return config, objects
    loss = objects.loss.kind or UNKNOWN_LOSS if objects.loss is not None else config.loss.name
    dataset, loading = open_data(data, val, test, config.data, config.task, raw=objects.model is not None, loss=loss)
    values: dict[str, Any] = {"data.path": PREFIX + dataset.path}
    if config.batch_size is None and loading.batch_size is not None:
        values["batch_size"] = min(loading.batch_size, len(dataset))
    if config.data.workers is None and loading.workers is not None:
        values["data.workers"] = loading.workers
    if is_data(val) or (dataset.given is not None and (dataset.given == 1).any()):
        values |= {"data.test": 0} if config.data.test is None and not (dataset.given == 2).any() else {}
    return with_values(config, values), replace(objects, data=replace(dataset, raw=objects.model is not None))
