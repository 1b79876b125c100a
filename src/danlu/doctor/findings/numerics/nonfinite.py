"""Finding numerics.nonfinite: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.curves import moment
from danlu.doctor.drawings.over_layers import chain
from danlu.doctor.drawings.over_time import loss_broken
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import CurveJudgement, FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message, recorded
from danlu.doctor.places import layer_place
from danlu.message import Message

OUTPUT_PLACE = "(output)"  # the place after the last layer
PLACES = {
    "input": message("finding.numerics.nonfinite.input", "the input"),
    "target": message("finding.numerics.nonfinite.target", "the target"),
    "loss": message("finding.numerics.nonfinite.loss_itself", "the loss itself"),
    "unknown": message("finding.numerics.nonfinite.unknown", "a place that was not seen"),
}

NAMES = {"nan": "NaN", "inf": message("finding.numerics.nonfinite.infinite", "infinite")}
REASONS = {
    "log": ("log of zero",),
    "root": ("square root at zero", "norm of a zero vector"),
    "division": ("division by zero",),
    "exp": ("overflow of exp",),
    "spread": ("standard deviation of one value",),
    "ends": ("arc cosine at its end", "atanh at its end"),
    "power": ("power",),
    "data": ("bad input", "bad target"),
    "weights": ("weights not finite before the first step",),
    "step": ("divergence", "overflow", "gradient not finite"),
}  # key of a fix -> entries nonfinite.reason
FIXES = {
    "log": message(
        "finding.numerics.nonfinite.fix_log", "Keep the argument of log above 0, or use a loss on scores (logits)."
    ),
    "root": message(
        "finding.numerics.nonfinite.fix_root",
        "The slope of the square root is infinite at 0: add a small number under the root.",
    ),
    "division": message("finding.numerics.nonfinite.fix_division", "Add a small number to the divisor."),
    "exp": message("finding.numerics.nonfinite.fix_exp", "Limit the argument of exp, or use logsumexp or log_softmax."),
    "spread": message(
        "finding.numerics.nonfinite.fix_spread",
        "Take the standard deviation over more than one value, or with correction=0, and add a small number.",
    ),
    "ends": message("finding.numerics.nonfinite.fix_ends", "Keep the argument inside the open interval from -1 to 1."),
    "power": message(
        "finding.numerics.nonfinite.fix_power", "Keep the base of a power with a fractional exponent above 0."
    ),
    "data": message("finding.numerics.nonfinite.fix_data", "Remove or fill these values in the data."),
    "weights": message(
        "finding.numerics.nonfinite.fix_weights",
        "The weights were not finite before the first step: check the checkpoint or initialise the model again.",
    ),
    "step": message(
        "finding.numerics.nonfinite.fix_step",
        "Start again with a lower learning rate, and clip the gradient before each step.",
    ),
    "other": message(
        "finding.numerics.nonfinite.fix_other",
        "Let torch name the operation that fails first. Usual sources are log or sqrt of 0, a division by 0, and a learning rate "
        "that is too high.",
    ),
}


def nonfinite(ledger: Ledger) -> Iterable[Finding]:
    """NaN or infinity, with the first layer where it occurred."""
    steps, values = ledger.series("nonfinite.step")
    if not steps:
        losses = ledger.series("loss.step")
        broken = [(s, v) for s, v in zip(*losses) if not math.isfinite(v)]
        if not broken:
            return
        steps, values = [broken[0][0]], [str(broken[0][1])]
    facts = {"step": steps[0], "value": values[0]}
    for key in ("source", "layer", "reason", "samples", "fraction", "input_max"):
        if ledger.has(f"nonfinite.{key}"):
            facts[key] = ledger.first(f"nonfinite.{key}")
    layer = str(facts.get("layer", ""))
    facts["place"] = place_of(str(facts.get("source", "unknown")), layer)
    facts["extent"] = extent_of(facts.get("samples"), facts.get("input_max"))
    reason = facts.get("reason", "not told")
    facts["fix"], facts["do"] = fix_of(str(reason))
    value, step = NAMES.get(str(facts["value"]), facts["value"]), facts["step"]
    if reason in ("not told", "between layers"):
        facts["what"] = message(
            "finding.numerics.nonfinite.loss", "The loss became {value} at step {step}", value=value, step=step
        )
    else:
        facts["what"] = message(
            "finding.numerics.nonfinite.loss_because",
            "The loss became {value} at step {step}: {reason}",
            value=value,
            step=step,
            reason=recorded(str(reason)),
        )
    yield Finding("numerics.nonfinite", "error", 0.99, "" if layer == OUTPUT_PLACE else layer.removeprefix(">"), facts)


def fix_of(reason: str) -> tuple[str, Message]:
    """Key of the code to paste, and the fix, for the entry nonfinite.reason."""
    key = next((key for key, reasons in REASONS.items() if reason in reasons), "other")
    return key, FIXES[key]


def place_of(source: str, layer: str) -> Message:
    """First place of a non-finite value, from the entries nonfinite.source and nonfinite.layer."""
    if source == "activation" and layer == OUTPUT_PLACE:
        return message("finding.numerics.nonfinite.output", "the output of the model")
    if source == "activation" and layer.startswith(">"):
        return message("finding.numerics.nonfinite.input_of", "what flows into {layer}", layer=layer_place(layer[1:]))
    named = layer_place(layer)
    if source == "activation":
        return message("finding.numerics.nonfinite.activation", "the output of {layer}", layer=named)
    if source == "weight":
        return message("finding.numerics.nonfinite.weight", "the weight {layer}", layer=named)
    if source == "gradient":
        return message("finding.numerics.nonfinite.gradient", "the gradient of {layer}", layer=named)
    return PLACES.get(source, PLACES["unknown"])


def extent_of(samples: list[int] | None, largest: float | None) -> Message | str:
    """Affected samples and the largest input, if known."""
    known = largest is not None and not math.isnan(largest)
    if samples and known:
        return message(
            "finding.numerics.nonfinite.samples_and_largest",
            " (samples {samples} of the batch, counted from 0); the largest input there is {largest}",
            samples=samples,
            largest=largest,
        )
    if samples:
        return message(
            "finding.numerics.nonfinite.samples", " (samples {samples} of the batch, counted from 0)", samples=samples
        )
    return (
        message("finding.numerics.nonfinite.largest", "; the largest input there is {largest}", largest=largest)
        if known
        else ""
    )


def nonfinite_of_curves(ledger: Ledger) -> Iterable[Finding]:
    """A logged loss becomes NaN or infinite and stays so, or is infinite at all."""
    places = ledger.wheres("curves.nonfinite")
    if places:
        name = min(places, key=lambda one: ledger.series("curves.nonfinite", one)[0][0])
        step, value = ledger.series("curves.nonfinite", name)[0][0], ledger.first("curves.nonfinite", name)
        facts = {"curve": name, "value": NAMES.get(str(value), value), "step": step, "at": moment(ledger, step)}
        yield Finding("numerics.nonfinite", "error", 0.97, name, facts)


SPEC = FindingSpec(
    code="numerics.nonfinite",
    order=480,
    severities=("error",),
    rule=nonfinite,
    words=Words(
        title="{what}",
        cause="NaN or infinity arose first in {place}{extent}.",
        fix="{do}",
        snippet={
            "log": "loss = -torch.log(p.clamp_min(1e-8)).mean()",
            "root": "distance = torch.sqrt(squares + 1e-8)",
            "division": "ratio = a / (b + 1e-8)",
            "exp": "p = torch.exp(scores.clamp(max=50))",
            "spread": "z = (a - a.mean()) / (a.std(correction=0) + 1e-8)",
            "ends": "angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))",
            "power": "root = a.clamp_min(1e-8) ** 0.5",
            "data": (
                "good = torch.isfinite(x_train).flatten(1).all(1) & torch.isfinite(y_train)\n"
                "x_train, y_train = x_train[good], y_train[good]"
            ),
            "weights": (
                'for m in model.modules():\n    if hasattr(m, "reset_parameters"):\n        m.reset_parameters()'
            ),
            "step": (
                "for g in optimizer.param_groups:\n"
                '    g["lr"] /= 10\n'
                "loss.backward()\n"
                "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
                "optimizer.step()"
            ),
            "other": "torch.autograd.set_detect_anomaly(True)",
        },
    ),
    charts=(
        loss_broken,
        chain,
    ),
    explains=(
        "model.inputs_unused",
        "fit.overfitting",
        "fit.underfitting",
        "fit.one_class",
        "fit.not_learning",
        "fit.stopped_early",
        "loop.no_update",
        "activation.*",
        "norm.train_eval_gap",
        "data.label_noise",
        "optim.plateau_*",
    ),
    needs=("loss.step",),
    from_curves=CurveJudgement(
        rule=nonfinite_of_curves,
        needs=(),
        words=Words(
            title="{curve} is {value} from {at} on",
            cause="Every update after a loss that is no finite number makes the weights useless.",
            fix=(
                "Let torch name the operation that fails first, or run danlu watch SCRIPT. Usual sources are "
                "log or sqrt of 0, a division by 0, bad inputs, float16 that overflows, and a learning rate "
                "that is too high."
            ),
            snippet="torch.autograd.set_detect_anomaly(True)",
        ),
    ),
)
