"""`danlu doctor`: what the doctor says of a run, or of data and a network before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from danlu.advice.fixes import cures
from danlu.config import Config, with_values
from danlu.data.dataset import ImageFiles
from danlu.data.formats import known_names
from danlu.doctor.derived.progress import epoch_samples
from danlu.doctor.diagnose import diagnose as rules
from danlu.doctor.ledger import Ledger
from danlu.doctor.static_checks import Split, examine_images, examine_labels, examine_model
from danlu.engine.doctor_watcher import findings_of
from danlu.inference.inputs import beside
from danlu.preparation.assemble import make_batches, make_task, transforms
from danlu.preparation.networks import build_network
from danlu.preparation.object_facts import tell_of_objects
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.refuse import Refusal, refusal
from danlu.run.folder import Run, runs_beside

MOST = 200_000  # images compared with one another


def diagnose(target: str | Path, *, lang: str | None = None, **settings: Any) -> dict[str, Any]:
    """{"of", "language", "findings": [...]}, gravest and surest first.

    target: a run folder, or data as for `train` (then settings as there; the network is that which would be trained).
    lang: en or zh.
    """
    spoken = {"doctor.language": lang} if lang else {}
    if (Path(target) / "config.yaml").exists():
        if settings:
            name, value = next(iter(settings.items()))
            raise refusal(f"--{name}", "left out for a run, which has its own", value)
        run = Run.open(target)
        config = with_values(run.config, spoken)
        language = config.doctor.language
        found = findings_of(run, language, cures(run.config, _samples(run), language))
        return {"of": run.name, "language": language, "findings": found}
    config = with_values(Config(), {"data.path": str(target)} | spoken | settings)
    try:
        prepared = prepare(config)
    except Refusal as refused:
        if refused.thing != "DATA":
            raise
        near = [*runs_beside(Path(target)), *known_names(), *beside(Path(target))]
        wanted = "a run folder, or data: a file, a folder or the name of a known set"
        raise refusal("RUN|DATA", wanted, str(target), near=near) from None
    findings = [*_of_data(prepared, config.doctor.language), *_of_model(prepared, config.doctor.language)]
    order = ("error", "warning", "note")
    findings.sort(key=lambda finding: (order.index(finding.severity), -finding.confidence))
    found = [finding.to_dict() for finding in findings]
    return {"of": prepared.dataset.path, "language": config.doctor.language, "findings": found}


def _samples(run: Run) -> int:
    """Of training: by the summary, or, of a run that broke down, as many as the doctor saw."""
    counts = (run.summary.get("data") or {}).get("counts") or {}
    return counts.get("train") or (epoch_samples(Ledger.read(run.ledger)) if run.ledger.exists() else 0) or 1


def _of_data(prepared: Prepared, language: str) -> list[Any]:
    dataset, parts = prepared.dataset, prepared.split
    split = Split(parts.train, parts.val, parts.test)
    targets = dataset.targets if dataset.task == "classify" else None
    findings = []
    if prepared.images is not None and len(dataset) <= MOST:
        stored = prepared.images.source
        if isinstance(stored, ImageFiles):
            stored = torch.cat([prepared.images.some(part.tolist()) for part in torch.arange(len(dataset)).split(256)])
        findings += examine_images(stored, targets, split, dataset.name_of, language)
    if targets is not None:
        findings += examine_labels(targets, split, dataset.classes, language)
    return findings


def _of_model(prepared: Prepared, language: str) -> list[Any]:
    """The network on one batch, in float32, without augmentation; a detector by its maps and anchors alone."""
    if prepared.objects is not None:
        ledger = Ledger()
        tell_of_objects(ledger, prepared, build_network(prepared, prepared.config.seed))
        return rules(ledger, language)
    task = make_task(prepared)
    _, plain = transforms(prepared)
    part = prepared.split.train[:64]
    batch = next(make_batches(prepared, part, plain, batch_size=len(part)).epoch())
    network = build_network(prepared, prepared.config.seed).to(prepared.device)
    return examine_model(
        network,
        lambda outputs, targets: task.sample_loss(_first(outputs), targets).mean(),
        batch.inputs,
        batch.targets,
        language,
    )


def _first(outputs: Any) -> Any:
    return outputs[0] if isinstance(outputs, tuple) else outputs
