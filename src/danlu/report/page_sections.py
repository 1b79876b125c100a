"""Sections of the report of a run, in their order, each written from the files of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from danlu.config import Config
from danlu.doctor.diagnose import judged
from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.cards import cards
from danlu.message import Message, language, message, translated
from danlu.report.curve_section import curve_section
from danlu.report.document import Section
from danlu.report.evaluation import augmented_section, evaluation_section, folds_section, mistakes_section
from danlu.report.feature_sections import features_lead, features_section
from danlu.report.healing import healing_section
from danlu.report.label_sections import label_mistakes_section, labels_section
from danlu.report.map_sections import map_examples_section, maps_section
from danlu.report.markup import Figures, card, escape
from danlu.report.object_sections import examples_section, objects_section, sizes_section
from danlu.report.pose_sections import pose_examples_section, poses_section
from danlu.report.pretraining_sections import pretraining_section
from danlu.report.run_sections import configuration_section, data_section, machine_section
from danlu.run.names import SPLIT_WORDS
from danlu.task_spec import TASKS, TaskSpec

PLAIN_RESULTS = (evaluation_section, lambda found: mistakes_section(found.get("mistakes") or []))
RESULTS = {  # type of the targets -> sections of the results and of the mistakes
    "class": PLAIN_RESULTS,
    "labels": (labels_section, lambda found: label_mistakes_section(found.get("label_mistakes") or [])),
    "numbers": PLAIN_RESULTS,
    "objects": (objects_section, PLAIN_RESULTS[1]),
    "none": (pretraining_section, PLAIN_RESULTS[1]),
    "map": (maps_section, PLAIN_RESULTS[1]),
}


@dataclass(frozen=True)
class Content:
    """Contents of the files of a run, from which the sections are written.

    rows: of metrics.jsonl. ledger: the doctor's measurements, for the charts of the findings.
    """

    summary: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()
    config: Config | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Mapping[str, Any]] = ()
    healing: Mapping[str, Any] = field(default_factory=dict)
    ledger: Ledger | None = None
    features: Mapping[str, Any] = field(default_factory=dict)

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """Results by sample and by class."""
        return self.summary.get("evaluation") or {}

    @property
    def task(self) -> TaskSpec | None:
        """The task; None where it is not known."""
        name: Any = self.summary.get("task")
        return TASKS.get(name)


@dataclass(frozen=True)
class ContentSection:
    """A section as a function of the content; an empty body leaves it out. lead: a sentence below the title."""

    anchor: str
    title: Message
    body: Callable[[Content, Figures], str]
    lead: Message | str | Callable[[Content], str] = ""

    def made(self, content: Content, figures: Figures) -> Section:
        """The section in the current language."""
        lead = self.lead(content) if callable(self.lead) else str(self.lead)
        return Section(self.anchor, str(self.title), self.body(content, figures), lead)


def _findings(content: Content, figures: Figures) -> str:
    if not content.findings:
        return _no_findings(content.ledger)
    return cards(content.findings, content.ledger or Ledger(), language())


def _no_findings(ledger: Ledger | None) -> str:
    """Number of findings that were checked when none was found; empty for a run without the doctor."""
    checked = judged(ledger) if ledger is not None else None
    if checked is None or not checked.n:
        return ""
    reasons = "".join(f"<li>{escape(why)}: {escape(', '.join(codes))}</li>" for why, codes in checked.reasons().items())
    notes = f'<ul class="notes">{reasons}</ul>' if reasons else ""
    text = "The doctor checked {count} {count:kind|kinds} of faults and found none."
    found = translated("report.nothing_found", text, count=checked.n)
    title = translated("report.not_judged", "Not judged") if notes else ""
    return f'<p class="well">{escape(found)}</p>' + (card(title, notes) if notes else "")


def _results(content: Content, figures: Figures) -> str:
    task = content.task
    if task is not None and task.poses:
        return poses_section(content.summary, figures)
    return (RESULTS[task.targets] if task else PLAIN_RESULTS)[0](content.summary, figures)


def _measured(content: Content) -> str:
    """The set that the results were measured on."""
    split = SPLIT_WORDS.get(content.evaluation.get("split", ""))
    return translated("report.lead.results", "Measured on the {split} set.", split=split) if split else ""


def _folds(content: Content, figures: Figures) -> str:
    folds = content.summary.get("folds")
    return folds_section(folds) if folds else ""


def _mistakes(content: Content, figures: Figures) -> str:
    return (RESULTS[content.task.targets] if content.task else PLAIN_RESULTS)[1](content.evaluation)


def _examples(content: Content, figures: Figures) -> str:
    found = content.evaluation
    return examples_section(found.get("examples") or []) + pose_examples_section(found.get("pose_examples") or [])


SECTIONS = (
    ContentSection("findings", message("report.heading.findings", "Findings"), _findings),
    ContentSection(
        "healing",
        message("report.heading.healing", "Healing"),
        lambda content, figures: healing_section(content.healing, figures),
        message("report.lead.healing", "Fixes tried for these findings."),
    ),
    ContentSection(
        "curves",
        message("report.heading.curves", "Curves"),
        lambda content, figures: curve_section(content.rows, content.summary, content.ledger, figures),
    ),
    ContentSection("results", message("report.heading.results", "Results"), _results, _measured),
    ContentSection("folds", message("report.heading.folds", "Folds"), _folds),
    ContentSection(
        "mistakes",
        message("report.heading.mistakes", "Mistakes"),
        _mistakes,
        message("report.lead.mistakes", "Wrong predictions with the highest confidence."),
    ),
    ContentSection(
        "examples",
        message("report.heading.examples", "Examples"),
        _examples,
        message(
            "report.lead.examples", "Ground truth and detections side by side; images with the most mistakes first."
        ),
    ),
    ContentSection(
        "maps",
        message("report.heading.maps", "Label maps"),
        lambda content, figures: map_examples_section(content.evaluation),
        message("report.lead.maps", "True and predicted classes side by side; images with the lowest mean IoU first."),
    ),
    ContentSection(
        "objects",
        message("report.heading.objects", "Objects"),
        lambda content, figures: sizes_section(content.evaluation.get("sizes") or {}, figures),
    ),
    ContentSection(
        "features",
        message("report.heading.features", "Features"),
        lambda content, figures: features_section(content.features, figures),
        lambda content: features_lead(content.features),
    ),
    ContentSection(
        "augmentation",
        message("report.heading.augmentation", "Augmentation"),
        lambda content, figures: augmented_section(content.summary.get("augmented") or []),
        message("report.lead.augmentation", "Training images as the model gets them."),
    ),
    ContentSection(
        "data",
        message("report.heading.data", "Data"),
        lambda content, figures: data_section(content.summary.get("data") or {}),
    ),
    ContentSection(
        "configuration",
        message("report.heading.configuration", "Configuration"),
        lambda content, figures: configuration_section(content.config, content.summary.get("choices") or []),
    ),
    ContentSection(
        "machine",
        message("report.heading.machine", "Machine"),
        lambda content, figures: machine_section(content.summary, content.environment),
    ),
)
