"""Rules about boxes, label maps, receptive fields and anchors on example ledgers, with and without the fault."""

from __future__ import annotations

import pytest

from danlu.doctor.diagnose import diagnose
from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.cards import draw
from danlu.doctor.presentation.plot import Rows


def sizes(longer: list[float], shorter: list[float], field: float, stride: float, canvas: float = 320) -> Ledger:
    ledger = Ledger()
    for name, value in (("longer", longer), ("shorter", shorter), ("canvas", canvas)):
        ledger.add(f"object.{name}", value)
    ledger.add("model.receptive_field", field)
    ledger.add("model.finest_stride", stride)
    return ledger


def faults(count: int, **kinds: int) -> Ledger:
    ledger = Ledger()
    ledger.add("object.count", count)
    for kind, n in kinds.items():
        ledger.add("object.faults", n, kind.replace("_", " "))
        ledger.add("object.examples", [f"7.xml object {n}"], kind.replace("_", " "))
    return ledger


def anchors(covered: float, fractions: list[float]) -> Ledger:
    ledger = Ledger()
    ledger.add("anchor.covered", covered)
    ledger.add("anchor.edges", [8.0, 16.0, 32.0, 64.0])
    ledger.add("anchor.coverage", fractions)
    ledger.add("anchor.objects", [40, 60, 50])
    return ledger


def pixels(ignored: int, **classes: int) -> Ledger:
    ledger = Ledger()
    for name, n in classes.items():
        ledger.add("pixel.count", n, name)
    ledger.add("pixel.ignored", ignored)
    return ledger


HEALTHY = [12.0, 30.0, 60.0, 150.0, 300.0]
CASES = [
    ("data.bad_boxes", "warning", faults(100, reversed=3, empty=2), faults(100)),
    ("data.bad_boxes", "warning", faults(100, tiny=9), faults(0)),
    ("data.bad_boxes", "note", faults(1000, clipped=40, repeated=2), faults(1000, clipped=0)),
    ("model.receptive_field", "warning", sizes(HEALTHY, HEALTHY, 31, 4), sizes(HEALTHY, HEALTHY, 320, 8)),
    ("model.receptive_field", "note", sizes(HEALTHY, HEALTHY, 100, 4), sizes(HEALTHY, HEALTHY, 151, 4)),
    ("model.receptive_field", "warning", sizes(HEALTHY, [2.0, 4, 6, 9, 20], 320, 16), sizes(HEALTHY, HEALTHY, 320, 32)),
    ("model.anchor_coverage", "warning", anchors(0.4, [0.0, 0.3, 0.9]), anchors(0.97, [0.9, 1.0, 1.0])),
    ("model.anchor_coverage", "note", anchors(0.8, [0.5, 0.9, 0.9]), anchors(0.9, [0.0, 1.0, -1.0])),
    ("data.one_pixel_class", "error", pixels(0, road=10_000, car=0), pixels(0, road=9_800, car=200)),
    ("data.one_pixel_class", "warning", pixels(50, road=9_950, car=50), pixels(50, road=5_000, car=5_000)),
    ("data.pixels_ignored", "warning", pixels(700, road=200, car=100), pixels(200, road=700, car=100)),
    ("data.pixels_ignored", "note", pixels(300, road=400, car=300), pixels(0, road=700, car=300)),
]


@pytest.mark.parametrize(("code", "severity", "bad", "good"), CASES)
def test_faulty_and_sound(code: str, severity: str, bad: Ledger, good: Ledger) -> None:
    found = diagnose(bad)
    assert [(one.code, one.severity) for one in found] == [(code, severity)]
    assert "?" not in found[0].cause + found[0].title
    assert isinstance(draw(found[0].to_dict(), bad), Rows)
    assert diagnose(bad, "zh")[0].title != found[0].title
    assert diagnose(good) == []


def test_an_object_as_large_as_the_image_needs_no_larger_field() -> None:
    """A field that is clipped to the image sees all there is."""
    assert diagnose(sizes([300.0] * 5, [200.0] * 5, 320, 8)) == []


def test_the_worst_sizes_are_named() -> None:
    finding = diagnose(anchors(0.4, [0.0, 0.3, 0.9]))[0]
    assert (finding.evidence["low"], finding.evidence["high"], finding.evidence["least"]) == (8.0, 16.0, 0.0)
