"""Finding model.bad_init: rule, wording and chart."""

from __future__ import annotations

import math
from collections.abc import Iterable

from danlu.doctor.derived.layers import linear_layers, norms_of_one_value, output_layers
from danlu.doctor.derived.learning import final_skill
from danlu.doctor.derived.progress import reached_early
from danlu.doctor.drawings.over_layers import scale_over_depth
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message
from danlu.doctor.places import OUTPUT

ALIKE = message(
    "finding.model.bad_init.alike",
    "Units that start with equal weights get equal gradients, and so stay equal forever.",
)
SPREAD = message(
    "finding.model.bad_init.spread",
    "Initialise the weights at random with a scale that depth keeps (He for ReLU), and standardise the inputs.",
)
ZERO_BIASES = message("finding.model.bad_init.zero_biases", "Start the biases at 0.")
VANISHED = 1e-4  # scale of the last hidden outputs over that of the first, too small however many layers share it
MANY_TIMES = 100.0  # the size of the targets
GOOD_SKILL = 0.6  # fraction of the loss at chance level explained in the end, from which the start did little harm


def bad_init(ledger: Ledger) -> Iterable[Finding]:
    """Constant weights; scale that grows or shrinks with depth (Glorot and Bengio 2010; He et al. 2015); first loss."""
    for check in (_equal_weights, _scale_over_depth, _large_outputs, _first_loss):
        if (found := check(ledger)) is not None:
            yield found
            return


def _equal_weights(ledger: Ledger) -> Finding | None:
    """Weights of one constant value."""
    constant = _constant_weights(ledger)
    if not constant:
        return None
    problem = message(
        "finding.model.bad_init.constant", "{count} weight tensors hold one constant value", count=len(constant)
    )
    facts = {"problem": problem, "parameters": constant[:8], "why": ALIKE, "do": SPREAD, "fix": "spread"}
    return Finding("model.bad_init", "error", 0.95, constant[0], facts)


def _scale_over_depth(ledger: Ledger) -> Finding | None:
    """Outputs whose scale shrinks or grows by a similar factor at each layer."""
    owners = ledger.facts("parameter.layer")
    zero = {owners.get(name) for name, flat in ledger.facts("parameter.constant").items() if flat and "weight" in name}
    layers = [layer for layer in linear_layers(ledger) if layer not in zero]
    scales = [(layer, ledger.first("activation.std", layer)) for layer in layers]
    scales = [(layer, scale) for layer, scale in scales if scale is not None and not math.isnan(scale)]
    # A normalisation over one value makes all after it constant, however the weights start.
    if len(scales) < 4 or min(scale for _, scale in scales) < 0 or norms_of_one_value(ledger):
        return None
    if scales[-2][1] == 0 and (sunk := _sunk_biases(ledger)) is not None:
        return sunk
    first, last = max(scales[0][1], 1e-30), max(scales[-2][1], 1e-30)
    factor = (last / first) ** (1 / (len(scales) - 2))
    shrinks = last / first < (3e-3 if factor < 0.55 else VANISHED)
    if not shrinks and (factor <= 2 or last / first <= 300):
        return None
    smaller = message("finding.model.bad_init.shrinks", "the outputs shrink from layer to layer")
    larger = message("finding.model.bad_init.grows", "the outputs grow from layer to layer")
    facts = {"problem": smaller if factor < 1 else larger, "factor": factor}
    facts |= {"first": first, "last": last, "layers": len(scales), "do": SPREAD, "fix": "spread"}
    facts["why"] = message(
        "finding.model.bad_init.scale",
        "At the start the standard deviation of the outputs is multiplied by {factor} at each layer, from {first} to "
        "{last} over {layers} layers. Outputs and gradients vanish or explode with depth.",
        factor=factor,
        first=first,
        last=last,
        layers=len(scales) - 1,
    )
    return Finding("model.bad_init", "note" if _learnt_well(ledger) else "warning", 0.9, scales[-2][0], facts)


def _first_loss(ledger: Ledger) -> Finding | None:
    """First loss far above chance level."""
    loss, outputs = ledger.last("loss.initial"), ledger.last("output.count", default=0)
    is_of_classes = ledger.last("loss.kind") in ("cross_entropy", "nll", "probabilities", "normalised") and outputs > 1
    if not is_of_classes or loss is None or math.isnan(loss):
        return None
    expected = max(math.log(outputs), ledger.first("loss.chance", default=0.0))
    if loss <= 3 * expected + 1:
        return None
    problem = message(
        "finding.model.bad_init.first_loss",
        "the first loss is {loss:.3g}, far above chance level",
        loss=loss,
    )
    why = message(
        "finding.model.bad_init.confident",
        "The first loss is {loss}, while equal probabilities for {outputs} classes give {expected}. The first "
        "outputs are so large that the untrained model is confident and wrong.",
        loss=loss,
        outputs=outputs,
        expected=expected,
    )
    fix = message(
        "finding.model.bad_init.small_head",
        "Start the last layer with small weights, and check the scale of the inputs and the labels.",
    )
    facts = {"problem": problem, "loss": loss, "expected": expected, "why": why, "do": fix, "fix": "head"}
    severity = "note" if _learnt_well(ledger) or reached_early(ledger) else "warning"
    return Finding("model.bad_init", severity, min(0.9, 0.5 + 0.05 * loss / expected), OUTPUT, facts)


def _learnt_well(ledger: Ledger) -> bool:
    """Return whether the training ended well in spite of its start."""
    return (final_skill(ledger) or 0.0) >= GOOD_SKILL


def _sunk_biases(ledger: Ledger) -> Finding | None:
    """Finding on hidden biases of one negative value, which hold ReLU units at 0 for every sample."""
    owners, means, outputs = ledger.facts("parameter.layer"), ledger.facts("parameter.mean"), output_layers(ledger)
    constant = ledger.facts("parameter.constant")
    biases = [name for name, role in ledger.facts("parameter.role").items() if role == "bias" and constant.get(name)]
    sunk = [name for name in biases if means[name] < 0 and owners.get(name) not in outputs]
    if not sunk:
        return None
    lowest = min(sunk, key=lambda name: means[name])
    facts = {"parameters": sunk[:8], "bias": means[lowest], "do": ZERO_BIASES, "fix": "biases"}
    facts["problem"] = message("finding.model.bad_init.sunk", "hidden biases start at {bias}", bias=means[lowest])
    facts["why"] = message(
        "finding.model.bad_init.held_at_zero",
        "{count} hidden bias tensors start at a negative value, {bias} in {name}. The units after them return 0 for every "
        "sample, and no gradient passes.",
        count=len(sunk),
        bias=means[lowest],
        name=lowest,
    )
    return Finding("model.bad_init", "error", 0.95, lowest, facts)


def _large_outputs(ledger: Ledger) -> Finding | None:
    """Finding on first outputs of a regression far larger than its targets, from which the training did not recover."""
    loss, skill = ledger.last("loss.initial"), final_skill(ledger)
    mean, std = ledger.first("target.mean", "train"), ledger.first("target.std", "train")
    if (
        loss is None
        or skill is None
        or mean is None
        or std is None
        or ledger.last("loss.kind") not in ("mse", "half_mse")
    ):
        return None
    size = math.hypot(mean, std)
    if not size or not MANY_TIMES**2 < loss / size**2 < math.inf or skill >= 0:
        return None
    recurrent = ledger.facts("layer.recurrent")
    times = math.sqrt(loss) / size
    facts = {"times": times, "loss": loss, "size": size, "fix": "recurrent" if recurrent else "spread"}
    facts["problem"] = message(
        "finding.model.bad_init.large_outputs",
        "the first outputs are {times} times as large as the targets",
        times=times,
    )
    if recurrent:
        layer, (kind, length) = max(recurrent.items(), key=lambda one: one[1][1])
        facts["why"] = message(
            "finding.model.bad_init.over_time",
            "The first loss is {loss}, while the targets are about {size} in size. The {kind} multiplies its state by the same "
            "weights at each of {length} time steps, so that weights a little too large make outputs and gradients explode.",
            loss=loss,
            size=size,
            kind=kind,
            length=length,
        )
        facts["do"] = message(
            "finding.model.bad_init.orthogonal",
            "Start the recurrent weights as an orthogonal matrix, which keeps the size of the state, and clip the gradient.",
        )
        return Finding("model.bad_init", "error", 0.85, layer, facts)
    facts["why"] = message(
        "finding.model.bad_init.far_off",
        "The first loss is {loss}, while the targets are about {size} in size: outputs and gradients start far too large.",
        loss=loss,
        size=size,
    )
    facts["do"] = SPREAD
    return Finding("model.bad_init", "warning", 0.8, OUTPUT, facts)


def _constant_weights(ledger: Ledger) -> list[str]:
    """Weights with a single constant value, so that all units stay equal.

    Outputs and normalisation layers may start so; so may a few others at zero if they get a gradient (the last layer of a
    residual branch).
    """
    order = ledger.facts("parameter.order")
    shapes, is_bare = ledger.facts("parameter.shape"), not any(ledger.facts("parameter.layer").values())
    weights = [
        name
        for name, role in ledger.facts("parameter.role").items()
        if role in ("weight", "embedding") or (is_bare and len(shapes.get(name, [])) > 1)  # tensors without a module
    ]
    weights.sort(key=lambda n: order.get(n, 0))
    constant = [
        n
        for n in weights
        if ledger.last("parameter.constant", n, 0)
        and ledger.last("parameter.size", n, 0) > 8
        and max(ledger.last("parameter.shape", n, [2, 2])[1:], default=1) > 1  # otherwise it is a gain per channel
    ]
    layers, last = ledger.facts("parameter.layer"), ledger.facts("layer.last")
    outputs = [n for n in weights if last.get(layers.get(n, ""))] or weights[-1:]
    if len(constant) == len(weights) >= 2:
        return constant
    constant = [n for n in constant if n not in outputs]
    zeros = [
        n for n in constant if not ledger.last("parameter.mean", n) and not ledger.last("parameter.gradient_zero", n, 0)
    ]
    return constant if len(zeros) < len(constant) or 2 * len(zeros) > len(weights) else []


SPEC = FindingSpec(
    code="model.bad_init",
    order=130,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=bad_init,
    words=Words(
        title="Bad initial weights: {problem}",
        cause="{why}",
        fix="{do}",
        snippet={
            "spread": (
                "for m in model.modules():\n"
                "    if isinstance(m, (nn.Linear, nn.Conv2d)):\n"
                '        nn.init.kaiming_normal_(m.weight, nonlinearity="relu")'
            ),
            "biases": (
                'for name, p in model.named_parameters():\n    if name.endswith("bias"):\n        nn.init.zeros_(p)'
            ),
            "recurrent": (
                "for m in model.modules():\n"
                "    if isinstance(m, nn.RNNBase):\n"
                "        for name, p in m.named_parameters():\n"
                '            if "weight_hh" in name:\n'
                "                nn.init.orthogonal_(p)\n"
                "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # between backward() and step()"
            ),
            "head": (
                "head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]\n"
                "nn.init.normal_(head.weight, std=0.01)\n"
                "nn.init.zeros_(head.bias)"
            ),
        },
    ),
    before_training=Words(
        title="The first loss is not at chance level",
        cause=(
            "The first loss is {loss}, while equal probabilities for {classes} classes give ln {classes} = "
            "{usual}. The first outputs are too large, or the labels do not fit."
        ),
        fix=("Start the last layer with small weights, and check the scale of the inputs and the labels."),
        snippet=(
            "head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]\n"
            "nn.init.normal_(head.weight, std=0.01)\n"
            "nn.init.zeros_(head.bias)"
        ),
    ),
    charts=(scale_over_depth,),
    explains=(
        "model.inputs_unused",
        "data.label_noise",
        "gradient.*",
        "activation.*",
        "optim.lr_too_high",
        "optim.lr_too_low",
        "optim.slow_convergence",
        "fit.*",
        "numerics.nonfinite",
        "optim.plateau_saddle",
        "optim.plateau_minimum",
        "optim.oscillation",
        "optim.no_warmup",
        "loop.no_update",
        "model.unreached",
    ),
    needs=(
        "parameter.std",
        "activation.std",
    ),
)
