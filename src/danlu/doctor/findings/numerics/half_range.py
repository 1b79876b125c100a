"""Finding numerics.half_range: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.drawings.over_time import series
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import layer_place

MIN_FLOAT16 = 6e-8  # smallest positive number


def half_range(ledger: Ledger) -> Iterable[Finding]:
    """Values outside the range of float16, which is 6e-5 (6e-8 subnormal) to 65504."""
    reason = str(ledger.first("nonfinite.reason", default=""))
    if "overflow of float16" in reason:
        layer = str(ledger.first("nonfinite.layer", default=""))
        facts = {
            "problem": message(
                "finding.numerics.half_range.overflow",
                "{layer} returns values beyond 65504",
                layer=layer_place(layer) if layer else message("finding.numerics.half_range.a_layer", "a layer"),
            )
        }
        yield Finding("numerics.half_range", "error", 0.995, layer, facts)
        return
    precision = str(ledger.last("run.precision", default="")).removeprefix("autocast-")
    if "float16" not in (precision, *ledger.last("run.layer_types", default=[])):
        return
    lost = [e for e in ledger.facts("optimizer.epsilon").values() if 0 < e < MIN_FLOAT16 / 2]
    if lost and precision == "float16" and ledger.has("nonfinite.step"):
        facts = {
            "problem": message(
                "finding.numerics.half_range.epsilon",
                "eps = {epsilon:.3g} of the optimiser is 0 in float16, so that weights without a gradient become 0 / 0",
                epsilon=lost[0],
            )
        }
        yield Finding("numerics.half_range", "error", 0.95, "", facts | {"epsilon": lost[0]})
        return
    scales = [s for s in ledger.values("loss.scale") if s > 0]
    zeros = ledger.values("gradient.zero_fraction")[-4:]
    if len(scales) >= 3 and max(scales) / scales[-1] >= 2**8 and scales[-1] < 128:
        problem = message(
            "finding.numerics.half_range.scale_fell",
            "the loss scale fell from {highest:.3g} to {last:.3g}",
            highest=max(scales),
            last=scales[-1],
        )
        facts = {"problem": problem, "scale": scales[-1]}
        yield Finding("numerics.half_range", "warning", 0.9, "", facts)
    elif zeros and min(zeros) > 0.5 and scales and max(scales) <= 1:
        facts = {
            "problem": message(
                "finding.numerics.half_range.zeros",
                "{fraction:%} of the gradient is exactly zero, and the loss is not scaled",
                fraction=round(min(zeros), 2),
            )
        }
        severity = "error" if min(zeros) > 0.95 else "warning"
        yield Finding("numerics.half_range", severity, 0.85, "", facts | {"zero_fraction": min(zeros)})


SPEC = FindingSpec(
    code="numerics.half_range",
    order=490,
    severities=(
        "error",
        "warning",
    ),
    rule=half_range,
    words=Words(
        title="Out of the range of float16: {problem}",
        cause=("float16 holds numbers from 6e-8 to 65504: smaller gradients become 0, larger values infinite."),
        fix=("Compute in bfloat16, which has the range of float32; or scale the loss with torch.amp.GradScaler."),
        snippet=("with torch.autocast(device, dtype=torch.bfloat16):\n    loss = loss_fn(model(x), y)"),
    ),
    charts=(
        series(
            message("doctor.chart.scale_of_the_loss", "Scale of the loss"),
            message("doctor.chart.factor", "factor"),
            "loss.scale",
            log=True,
        ),
        series(
            message("doctor.chart.gradient_that_is_exactly_zero", "Gradient that is exactly zero"),
            message("doctor.chart.fraction", "fraction"),
            "gradient.zero_fraction",
            percent=True,
        ),
    ),
    explains=(
        "numerics.nonfinite",
        "model.bad_init",
        "model.unreached",
        "loop.no_update",
        "gradient.*",
        "activation.*",
        "optim.*",
        "fit.*",
    ),
    needs=("run.precision",),
)
