"""`danlu diagnose`: findings of the doctor about a run, or about data and a network before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from danlu.advice.fixes import fixes_of_run
from danlu.analysis.diagnosis import Diagnosis
from danlu.analysis.examined import (
    MAX_FIT_SECONDS,
    checked,
    class_targets,
    compares_images,
    fitted_samples,
    judges_first_loss,
    not_judged,
)
from danlu.config import Config, get, new_config, with_values
from danlu.data.dataset import ImageFiles
from danlu.data.files.links import check_ordinary
from danlu.data.known_sets import KNOWN
from danlu.doctor.curves.judge import LogDiagnosis, diagnose_log
from danlu.doctor.derived.progress import epoch_samples
from danlu.doctor.diagnose import diagnose as apply_rules
from danlu.doctor.finding import SEVERITIES, Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.static_checks import (
    BatchFit,
    CheckedSplit,
    examine_images,
    examine_labels,
    examine_model,
)
from danlu.engine.doctor_watcher import findings_of
from danlu.inference.input_images import siblings
from danlu.message import message, speaking, translated
from danlu.own.collect import collect, with_data
from danlu.own.recognition import is_data
from danlu.preparation.assemble import make_batches, make_task, transforms
from danlu.preparation.networks import build_network
from danlu.preparation.object_facts import record_object_facts
from danlu.preparation.pixel_facts import record_pixel_facts
from danlu.preparation.pose_facts import record_pose_facts
from danlu.preparation.prepare import prepare
from danlu.preparation.prepared import Prepared
from danlu.progress.stages import stage
from danlu.python_calls import python_names
from danlu.refuse import Refusal, blame, refusal
from danlu.run.folder import Run, runs_beside
from danlu.tasks.task import SampleLossTask
from danlu.user_objects import using

PLAIN_FORMAT = {"precision": "fp32", "channels_last": False}  # nothing is trained, so that no format is timed


@python_names()
def diagnose(target: Any, *, lang: str | None = None, **settings: Any) -> Diagnosis:
    """Diagnose a run from its ledger, the log of another tool, or data and the network that would be trained on it.

    Args:
        target: A run or its folder; the log of another tool (see `danlu.doctor.curves`), a file or a folder that holds
            one; or data as for `train`.
        lang: Language of the findings, en or zh.
        settings: Settings and objects of your own as for `train`, for data only.

    Returns:
        The findings, most severe first, and what was checked and could not be judged.

    Raises:
        Refusal: The target is none of these.
    """
    spoken = {"doctor.language": lang} if lang else {}
    is_run = not is_data(target) and bool(str(target)) and (Path(target) / "config.yaml").exists()
    if not (is_run or is_data(target) or settings or not str(target)) and Path(target).exists():
        check_ordinary(Path(target), "RUN|LOG|DATA")
        language = with_values(new_config(), spoken).doctor.language
        diagnosed = diagnose_log(Path(target), language)
        if diagnosed is not None:
            return _of_log(diagnosed, language)
    if is_run:
        if settings:
            name, value = next(iter(settings.items()))
            raise refusal(
                f"--{name}", message("analysis.wanted.omitted_run_own", "omitted for a run, which has its own"), value
            )
        run = Run.open(target)
        config = with_values(run.config, spoken)
        language = config.doctor.language
        found = findings_of(run, language, fixes_of_run(run, run.config, _training_samples(run), language, run.summary))
        return Diagnosis(run.name, language, [Finding.from_dict(one) for one in found])
    plain, objects = collect(settings)
    path = {} if is_data(target) else {"data.path": str(target)}
    config = with_values(new_config(), path | spoken | plain)
    config, objects = with_data(config, target, None, None, objects)
    with using(objects):
        return _diagnose_data(config, target)


def _of_log(diagnosed: LogDiagnosis, language: str) -> Diagnosis:
    """The diagnosis of a log as a result of danlu."""
    with speaking(language):
        log = {
            "format": diagnosed.format,
            "path": str(diagnosed.path),
            "evidence": diagnosed.evidence,
            "curves": diagnosed.curves,
            "source": str(diagnosed.source()),
            "judged_from": "curves",
            "not_judged": diagnosed.checked.reasons(),
        }
    return Diagnosis(str(diagnosed.path), language, diagnosed.findings, log=log)


def write_log_page(diagnosis: Diagnosis, page: Path) -> Path:
    """Write the HTML page of a diagnosed log: findings, curves, and findings that could not be judged.

    Raises:
        Refusal: the page cannot be written.
    """
    if diagnosis.log is None or (diagnosed := diagnose_log(Path(diagnosis.log["path"]), diagnosis.language)) is None:
        raise refusal("LOG", message("analysis.wanted.log_another_tool", "the log of another tool"), diagnosis.target)
    try:
        return diagnosed.report(page, diagnosis.language)
    except OSError as error:
        raise blame(error, f"--out {page}") from None


def _diagnose_data(config: Config, target: Any) -> Diagnosis:
    """Findings about data and a network before training."""
    open_formats = {k: v for k, v in PLAIN_FORMAT.items() if get(config, k) is None}
    try:
        prepared = _prepare(with_values(config, open_formats))
    except Refusal as refused:
        if refused.thing != "DATA" or is_data(target):
            raise
        near = [*runs_beside(Path(target)), *KNOWN, *siblings(Path(target))]
        wanted = message(
            "analysis.wanted.run_folder_log_another",
            "a run folder, the log of another tool, or data: a file, a folder or the name of a known dataset",
        )
        raise refusal("RUN|LOG|DATA", wanted, str(target), near=near) from None
    findings = _data_findings(prepared, config.doctor.language)
    fit = BatchFit(MAX_FIT_SECONDS)
    with stage(translated("stage.network", "examining the untrained network")):
        findings += _model_findings(prepared, config.doctor.language, fit)
    findings.sort(key=lambda finding: (SEVERITIES.index(finding.severity), -finding.confidence))
    with speaking(config.doctor.language):
        lists = {"checked": checked(prepared, fit.judged), "not_judged": not_judged(prepared, fit.judged)}
        examined = {name: list(map(str, sentences)) for name, sentences in lists.items()}
    return Diagnosis(prepared.dataset.path, config.doctor.language, findings, examined=examined)


def _prepare(config: Config) -> Prepared:
    """Data and settings. Poses that a training would refuse are examined; any other refusal is raised."""
    try:
        return prepare(config)
    except Refusal as refused:
        if config.data.on_bad == "skip":
            raise
        try:
            prepared = prepare(with_values(config, {"data.on_bad": "skip"}))
        except Refusal:
            raise refused from None
        if prepared.dataset.audit is None or not prepared.dataset.audit.faulty:
            raise
        return prepared


def _training_samples(run: Run) -> int:
    """Size of the training set, from the summary, or from the ledger of a run that failed."""
    if count := run.summary.data.counts.get("train"):
        return count
    return (epoch_samples(Ledger.read(run.checked(run.ledger))) if run.ledger.exists() else 0) or 1


def _data_findings(prepared: Prepared, language: str) -> list[Finding]:
    """Duplicates and leaks among images, and findings about labels."""
    dataset, indices = prepared.dataset, prepared.split
    split = CheckedSplit(indices.train, indices.val, indices.test)
    targets = class_targets(prepared)
    findings = []
    if prepared.images is not None and compares_images(prepared):
        stored = prepared.images.source
        if isinstance(stored, ImageFiles):
            chunks = torch.arange(len(dataset)).split(256)
            stored = torch.cat([prepared.images.some(chunk.tolist()) for chunk in chunks])
        if prepared.images.marked:
            stored = stored[:, :-1]
        with stage(translated("stage.comparing", "comparing the images with one another")):
            findings += examine_images(stored, targets, split, dataset.name_of, language)
    if targets is not None:
        findings += examine_labels(targets, split, dataset.classes, language)
    return findings


def _model_findings(prepared: Prepared, language: str, fit: BatchFit) -> list[Finding]:
    """Findings about the untrained network on one batch, in float32, without augmentation.

    Of a detector only its feature maps and anchors are examined, of label maps the pixels of each class.
    """
    if prepared.objects is not None or prepared.maps is not None:
        ledger = Ledger()
        if prepared.objects is not None:
            model = build_network(prepared, prepared.config.seed)
            record_object_facts(ledger, prepared, model)
            record_pose_facts(ledger, prepared, model)
        record_pixel_facts(ledger, prepared)
        return apply_rules(ledger, language)
    task = make_task(prepared)
    assert isinstance(task, SampleLossTask), "detectors are handled above"
    _, plain = transforms(prepared)
    index = fitted_samples(prepared)
    batch = next(make_batches(prepared, index, plain, batch_size=len(index)).epoch())
    network = build_network(prepared, prepared.config.seed).to(prepared.device)
    return examine_model(
        network,
        lambda outputs, targets: task.sample_loss(_first(outputs), targets).mean(),
        batch.inputs,
        batch.targets,
        language,
        judge_first_loss=judges_first_loss(prepared),
        fit=fit,
    )


def _first(outputs: Any) -> Any:
    return outputs[0] if isinstance(outputs, tuple) else outputs
