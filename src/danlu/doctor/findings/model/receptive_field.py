"""Finding model.receptive_field: rule, wording and chart."""

from __future__ import annotations

from collections.abc import Iterable

from danlu.doctor.derived.applies import detects
from danlu.doctor.drawings.counts import object_sizes
from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import message


def receptive_field(ledger: Ledger) -> Iterable[Finding]:
    """A receptive field smaller than the objects (Luo et al. 2016), or objects smaller than a cell of the finest map."""
    longer, shorter = ledger.last("object.longer"), ledger.last("object.shorter")
    field, stride = ledger.last("model.receptive_field"), ledger.last("model.finest_stride")
    side = ledger.last("object.canvas", default=0)
    if longer and field and field < min(longer[3], side or longer[3]):
        facts = {"problem": "small field", "field": field, "stride": stride, "middle": longer[2], "larger": longer[3]}
        facts["what"] = message(
            "finding.model.receptive_field.small_field",
            "Each output of the network depends on {field:g} pixels of the input, and a tenth of the objects are longer than {longer:.3g}",
            field=field,
            longer=longer[3],
        )
        yield Finding("model.receptive_field", "warning" if field < longer[2] else "note", 0.85, "", facts)
    elif shorter and stride and stride > shorter[2]:
        facts = {"problem": "coarse maps", "field": field, "stride": stride, "middle": shorter[2], "larger": shorter[3]}
        facts["what"] = message(
            "finding.model.receptive_field.coarse_maps",
            "The finest map of the network has cells of {stride:g} pixels, and half of the objects are narrower than {shorter:.3g} pixels",
            stride=stride,
            shorter=shorter[2],
        )
        yield Finding("model.receptive_field", "warning" if stride > 2 * shorter[2] else "note", 0.8, "", facts)


SPEC = FindingSpec(
    code="model.receptive_field",
    order=610,
    severities=(
        "warning",
        "note",
    ),
    rule=receptive_field,
    words=Words(
        title="The feature maps do not fit the size of the objects",
        cause=(
            "{what}. Objects larger than the receptive field are never seen completely; objects in the same "
            "cell cannot be distinguished."
        ),
        fix=(
            "For larger objects take a deeper network or a smaller input (--size); for smaller ones a "
            "larger input, or a detector with a finer map."
        ),
    ),
    charts=(object_sizes,),
    needs=("model.receptive_field",),
    concerns=detects,
)
