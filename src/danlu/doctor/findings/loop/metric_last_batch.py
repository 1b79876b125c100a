"""Finding loop.metric_last_batch: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import reports_metrics
from danlu.doctor.drawings.over_epochs import reported_and_correct
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def metric_last_batch(ledger: Ledger) -> Iterable[Finding]:
    """The loop's own metric is the mean over batches, or divides by batch size x batches, with a smaller last batch."""
    for metric in ledger.wheres("user.metric"):
        low = metric.lower()
        phase = "val" if "val" in low or "test" in low else "train"
        family = "accuracy" if "acc" in low else "loss" if "loss" in low else None
        if family is None:
            continue
        reported = dict(zip(*ledger.series("user.metric", metric)))
        right = dict(zip(*ledger.series(f"{family}.mean", phase)))
        whole = dict(zip(*ledger.series("epoch.measured", phase))), dict(zip(*ledger.series("epoch.batches", phase)))
        for wrong_name, how in (
            (f"{family}.batch_mean", message("finding.loop.metric_last_batch.batch_mean", "the mean of the batches")),
            ("accuracy.padded", message("finding.loop.metric_last_batch.padded", "divided by batch size x batches")),
        ):
            if family == "loss" and wrong_name.startswith("accuracy"):
                continue
            wrong = dict(zip(*ledger.series(wrong_name, phase)))
            epochs = [
                e
                for e in reported
                if e in right and e in wrong and (family == "loss" or whole[0].get(e) == whole[1].get(e))
            ]
            apart = [e for e in epochs if abs(wrong[e] - right[e]) > 1e-5 * max(1.0, abs(right[e]))]
            hits = [e for e in apart if _near(reported[e], wrong[e], right[e])]
            if hits and len(hits) >= 0.6 * len(epochs):
                e = hits[-1]
                facts = {"metric": metric, "told": reported[e], "right": right[e], "how": how, "epoch": e}
                yield Finding("loop.metric_last_batch", "warning", 0.9, metric, facts)
                break


def _near(reported: float, wrong: float, right: float) -> bool:
    """Return whether the reported value, as a fraction or in percent, is the wrong one."""
    gap = abs(wrong - right)
    return any(abs(reported / unit - wrong) < min(0.1 * gap, 1e-3) for unit in (1, 100))


SPEC = FindingSpec(
    code="loop.metric_last_batch",
    order=300,
    severities=("warning",),
    rule=metric_last_batch,
    words=Words(
        title="{metric} is not computed over all samples",
        cause=(
            "The loop reports {metric} = {told}; over all samples it is {right}. The reported value is "
            "{how}, which differs because the last batch is smaller than the others."
        ),
        fix="Sum over samples and divide by their number.",
        snippet=(
            "correct = total = 0\n"
            "with torch.no_grad():\n"
            "    for x, y in loader:\n"
            "        correct += (model(x).argmax(1) == y).sum().item()\n"
            "        total += len(y)\n"
            "accuracy = correct / total"
        ),
    ),
    charts=(reported_and_correct,),
    explains=("loop.metric_wrong",),
    needs=("loss.batch_mean",),
    concerns=reports_metrics,
    alone=True,
)
