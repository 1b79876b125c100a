"""Findings about objects to be found in images: their boxes, and whether the network's maps and anchors suit them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from danlu.doctor.finding import Finding
from danlu.doctor.ledger import Ledger
from danlu.doctor.phrase import Phrase

SPOILT = ("reversed", "empty", "outside the image", "not finite", "unknown class", "other")  # left out of training
NAMED = 5


def bad_boxes(ledger: Ledger) -> Iterable[Finding]:
    """Boxes that are none: reversed, empty, outside; or so small at the training resolution that nothing is to be seen.

    Boxes that reach beyond their image, or are there twice, are named but do not make it a warning.
    """
    faults = {kind: n for kind, n in ledger.facts("object.faults").items() if n}
    total = ledger.last("object.count", default=0)
    if not faults or not total:
        return
    spoilt = sum(n for kind, n in faults.items() if kind in SPOILT)
    tiny = faults.get("tiny", 0)
    examples = [place for kind in faults for place in ledger.last("object.examples", kind, [])][:NAMED]
    listed = ", ".join(f"{n} {kind}" for kind, n in sorted(faults.items(), key=lambda item: -item[1]))
    facts = {"kinds": listed, "spoilt": spoilt, "tiny": tiny, "boxes": total, "share": (spoilt + tiny) / total}
    facts["examples"] = "; ".join(examples)
    grave = spoilt > max(2, 0.005 * total) or tiny > 0.05 * total
    yield Finding("data.bad_boxes", "warning" if grave else "note", 0.97, examples[0] if examples else "", facts)


def receptive_field(ledger: Ledger) -> Iterable[Finding]:
    """No number of the network sees a whole object (Luo et al. 2016 show that it sees well only the middle of its
    field); or objects are smaller than a cell of the finest map, and share it with their neighbours."""
    longer, shorter = ledger.last("object.longer"), ledger.last("object.shorter")
    field, stride = ledger.last("model.receptive_field"), ledger.last("model.finest_stride")
    side = ledger.last("object.canvas", default=0)
    if longer and field and field < min(longer[3], side or longer[3]):
        facts = {"problem": "small field", "field": field, "stride": stride, "middle": longer[2], "larger": longer[3]}
        sentence = "it sees {:g} pixels, and a tenth of the objects are longer than {:.3g}"
        facts["what"] = Phrase(sentence, field, longer[3])
        yield Finding("model.receptive_field", "warning" if field < longer[2] else "note", 0.85, "", facts)
    elif shorter and stride and stride > shorter[2]:
        facts = {"problem": "coarse maps", "field": field, "stride": stride, "middle": shorter[2], "larger": shorter[3]}
        sentence = "its finest map has a stride of {:g}, and half of the objects are narrower than {:.3g} pixels"
        facts["what"] = Phrase(sentence, stride, shorter[2])
        yield Finding("model.receptive_field", "warning" if stride > 2 * shorter[2] else "note", 0.8, "", facts)


def anchor_coverage(ledger: Ledger) -> Iterable[Finding]:
    """Objects that no anchor overlaps by half: they are matched by force or not at all (Ren et al. 2015, 3.1.2)."""
    covered, edges = ledger.last("anchor.covered"), ledger.last("anchor.edges", default=[])
    shares, counts = ledger.last("anchor.coverage", default=[]), ledger.last("anchor.objects", default=[])
    if covered is None:
        return
    bars = list(zip(edges, edges[1:], shares, counts))
    enough = [bar for bar in bars if bar[3] > 0.02 * sum(counts)] or bars
    low, high, least, _ = min(enough, key=lambda bar: bar[2] if bar[2] >= 0 else 1.0, default=(0, 0, 1.0, 0))
    facts = {"covered": covered, "missed": 1 - covered, "low": low, "high": high, "least": least, "threshold": 0.7}
    if covered < 0.7:
        yield Finding("model.anchor_coverage", "warning", 0.9 if covered < 0.5 else 0.8, "", facts)
    elif covered < 0.85:
        yield Finding("model.anchor_coverage", "note", 0.7, "", facts)


RULES: dict[str, Callable[[Ledger], Iterable[Finding]]] = {
    "data.bad_boxes": bad_boxes,
    "model.receptive_field": receptive_field,
    "model.anchor_coverage": anchor_coverage,
}
