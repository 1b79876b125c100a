"""Finding model.random_in_eval: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.counts import against_threshold
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

MIN_DIFFERENCE = 1e-3  # relative to the deviation of the outputs


def random_in_eval(ledger: Ledger) -> Iterable[Finding]:
    """Functional dropout that is active in eval mode. Other noise may be intended, such as the sampling of a VAE."""
    difference, dropout = ledger.last("probe.random", default=0.0), ledger.last("probe.dropout", default=0.0)
    if difference > MIN_DIFFERENCE and dropout:
        facts = {"difference": difference, "dropout": dropout, "threshold": MIN_DIFFERENCE}
        yield Finding("model.random_in_eval", "warning", 0.95, "", facts)


SPEC = FindingSpec(
    code="model.random_in_eval",
    order=194,
    severities=("warning",),
    rule=random_in_eval,
    words=Words(
        title="Dropout stays on in evaluation",
        cause=(
            "After model.eval() two runs on the same samples differ by {difference:%} of the outputs' "
            "standard deviation. forward() calls F.dropout with p={dropout}, which drops values unless "
            "training=False is passed."
        ),
        fix="Pass the mode on to F.dropout, or use the module nn.Dropout({dropout}).",
        snippet="x = F.dropout(x, {dropout}, training=self.training)",
    ),
    charts=(
        against_threshold(
            message("doctor.chart.two_runs_in_eval_mode", "Two runs on the same samples in eval mode"),
            message("doctor.chart.difference_in_deviations", "difference in deviations"),
            "difference",
        ),
    ),
    explains=("fit.*", "optim.*"),
    needs=("probe.random",),
)
