"""The model card of a shared run: network, training data, metrics, findings and intended use."""

from __future__ import annotations

from pathlib import Path

from danlu import __version__
from danlu.inference.loaded_run import LoadedRun
from danlu.models.packaged import PACKAGED

MAX_CLASSES_LISTED = 100


def model_card(run: LoadedRun, use: str | None, file: str) -> str:
    """Markdown. use: the intended use in the author's words. file: name of the shared file."""
    summary, signature = run.summary, run.signature
    data = summary.data
    counts = ", ".join(f"{count:,} {split}" for split, count in data.counts.items())
    listed = ", ".join(signature.classes[:MAX_CLASSES_LISTED])
    more = len(signature.classes) - MAX_CLASSES_LISTED
    lines = [
        f"# {signature.model.removeprefix('own:')}: {summary.task or signature.task}",
        "",
        f"Trained with danlu {__version__}: {summary.epochs} epochs, {summary.parameters:,} parameters.",
        "",
        "## Intended use",
        "",
        use or _default_use(run),
        "",
        "## Use",
        "",
        "```",
        f"danlu predict {file} IMAGE...",
        f"python -c \"import danlu; print(danlu.load({file!r}).predict('image.jpg'))\"",
        "```",
        "",
        "## Data",
        "",
        f"- name: {Path(data.path).name or 'not recorded'} ({data.format})",
        f"- samples: {counts or 'not recorded'}; {data.how}",
        f"- input of the network: {' x '.join(map(str, signature.input_shape))}",
    ]
    if signature.classes:
        lines.append(f"- classes: {listed}{f' and {more} more' if more > 0 else ''}")
    lines += ["", "## Metrics", "", "| split | " + " | ".join(_metric_names(run)) + " |"]
    lines.append("|---" * (len(_metric_names(run)) + 1) + "|")
    for split in ("val", "test"):
        metrics = summary.metrics[split]
        if metrics:
            figures = (f"{metrics[name]:.4f}" if name in metrics else "" for name in _metric_names(run))
            lines.append(f"| {split} | " + " | ".join(figures) + " |")
    looks = f"The test set was evaluated {summary.test_looks} times." if summary.test_looks > 1 else ""
    lines += ["", looks, "## Findings of the doctor", ""]
    lines += [f"- {one.severity}: {one.title or one.code}" for one in run.findings] or ["None."]
    lines += ["", "## Licence of the weights", "", _origin(run), ""]
    return "\n".join(lines)


def _default_use(run: LoadedRun) -> str:
    """Intended use where the author gave none: predictions on data like the training set."""
    return (
        f"Inputs like those it was trained on (`{Path(run.summary.data.path).name}`). Other inputs were not evaluated; "
        "the author stated no further use."
    )


def _metric_names(run: LoadedRun) -> list[str]:
    """Metrics of validation and test, in their order."""
    metrics = run.summary.metrics
    return list(dict.fromkeys(name for split in ("val", "test") for name in metrics[split]))


def _origin(run: LoadedRun) -> str:
    """Origin of the weights, and the licence that comes with them."""
    init = run.config.transfer.init
    if init in PACKAGED:
        weights = PACKAGED[init]
        return f"Fine-tuned from {weights.source}, licence {weights.licence}."
    if run.config.model.pretrained or run.config.transfer.start:
        name = run.signature.model if run.config.model.pretrained else Path(str(init)).name
        return f"Fine-tuned from the weights of {name}, whose licence applies as well and must be looked up."
    return "Trained from random initialisation; no weights of others are inside. The author has stated no licence."
