"""Finding activation.dead_relu: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.embeddings import have_equal_embeddings
from danlu.doctor.derived.layers import output_layers
from danlu.doctor.drawings.over_layers import by_layer
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message

# Fractions of the units that are dead, and that died in training, for a warning. Where inputs are few and positive, a third
# of the units start without an effect and more die without harm.
MIN_HARMFUL, MIN_DIED = 0.7, 0.2


def dead_relu(ledger: Ledger) -> Iterable[Finding]:
    """Units that are zero for every sample, over several steps: no gradient reaches them (Lu et al. 2019)."""
    dead = []
    for layer in ledger.wheres("activation.dead_units"):
        fractions, samples = (
            ledger.values("activation.dead_units", layer),
            ledger.last("activation.dead_samples", layer, 0),
        )
        if samples >= 64 and min(fractions[-2:]) > 0.6:
            dead.append((fractions[-1], layer, samples, fractions[0]))
    if dead:
        dead.sort(reverse=True)
        fraction, layer, samples, at_start = dead[0]
        facts = {
            "fraction": fraction,
            "samples": samples,
            "layers": len(dead),
            "of": len(ledger.wheres("activation.dead_units")),
        }
        all_dead = fraction > 0.95
        confidence = 0.95 if all_dead else 0.5 + 0.45 * fraction
        harmful = fraction >= MIN_HARMFUL and fraction - at_start >= MIN_DIED
        # so that few units are needed
        drawn_together = any(have_equal_embeddings(ledger, layer) for layer in output_layers(ledger))
        severity = "error" if all_dead else "warning" if harmful and not drawn_together else "note"
        yield Finding("activation.dead_relu", severity, confidence, layer, facts)


SPEC = FindingSpec(
    code="activation.dead_relu",
    order=450,
    severities=(
        "error",
        "warning",
        "note",
    ),
    rule=dead_relu,
    words=Words(
        title="Dead ReLU units in {where}",
        cause=(
            "{fraction:%} of the units of {where} returned 0 for each of the last {samples} samples measured. "
            "Their gradient is 0 too, so that no step can change them. ReLU layers affected: {layers} of "
            "{of}."
        ),
        fix=(
            "Train again with a lower learning rate, small or zero biases and He initialisation, or with "
            "leaky ReLUs, whose gradient is never 0."
        ),
        snippet=(
            "for module in list(model.modules()):\n"
            "    for name, child in module.named_children():\n"
            "        if isinstance(child, nn.ReLU):\n"
            "            setattr(module, name, nn.LeakyReLU(0.01))"
        ),
    ),
    charts=(
        by_layer(
            message("doctor.chart.units_that_are_zero_for", "Units that are zero for every sample"),
            message("doctor.chart.fraction_of_the_layer_s", "fraction of the layer's units"),
            "activation.dead_units",
            percent=True,
            above=0.6,
        ),
    ),
    explains=(
        "model.inputs_unused",
        "fit.*",
        "activation.collapsed",
        "gradient.vanishing",
        "optim.slow_convergence",
        "model.unreached",
        "optim.plateau_minimum",
    ),
    needs=("activation.std",),
    overcome_at=0.9,
)
