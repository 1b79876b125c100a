"""Rules about poses on example ledgers, with and without the fault."""

from __future__ import annotations

from typing import Any

import pytest

from danlu.doctor.diagnose import diagnose
from danlu.doctor.ledger import Ledger
from danlu.doctor.presentation.cards import draw
from danlu.doctor.presentation.plot import Curves, Rows


def audited(*records: tuple[str, Any, str]) -> Ledger:
    """A ledger of 200 checked poses that project onto their boxes where nothing else is said."""
    ledger = Ledger()
    facts = {"pose.count": 200, "pose.compared": 180, "pose.apart": 0, "pose.explanation": "none"}
    facts |= {name: value for name, value, where in records if not where}
    for name, value in facts.items():
        ledger.add(name, value, step=0)
    for name, value, where in records:
        if where:
            ledger.add(name, value, where, 0)
    return ledger


def matrices(kind: str, count: int) -> Ledger:
    return audited(("pose.matrices", count, kind), ("pose.examples", ["1 object 0"], kind))


def explained(kind: str, **facts: Any) -> Ledger:
    rows = [("pose.explanation", kind, ""), ("pose.deviation", 0.7, "before"), ("pose.deviation", 0.02, "after")]
    return audited(*rows, *((f"pose.{name}", value, "") for name, value in facts.items()))


def trained(loss: str, rotations: list[float], *, depth: float = 0.02, symmetries: int = 24) -> Ledger:
    """Epochs of a network that estimates the poses of a cube and a prism; chance level of the cube is 41 degrees."""
    ledger = Ledger()
    ledger.add("pose.loss", loss, step=0)
    for name, count, chance in (("prism", 1, 126.0), ("cube", symmetries, 41.0)):
        ledger.add("pose.symmetries", count, name, 0)
        ledger.add("pose.chance", chance, name, 0)
    for epoch, rotation in enumerate(rotations, 1):
        ledger.add("pose.rotation", rotation, "cube", epoch)
        ledger.add("pose.depth", depth, "cube", epoch)
        ledger.add("pose.rotation", 8.0, "prism", epoch)
        ledger.add("pose.depth", 0.02, "prism", epoch)
        ledger.add("pose.found", 0.9, "val", epoch)
    return ledger


def courses(losses: list[float], found: list[float]) -> Ledger:
    ledger = Ledger()
    ledger.add("pose.loss", "symmetries", step=0)
    for epoch, (loss, fraction) in enumerate(zip(losses, found), 1):
        ledger.add("pose.rotation_loss", loss, "train", epoch)
        ledger.add("pose.found", fraction, "val", epoch)
    return ledger


CASES = [
    ("data.quaternion_length", "error", matrices("unnormalised", 40), matrices("unnormalised", 0)),
    ("data.quaternion_length", "warning", matrices("unnormalised", 2), audited()),
    ("data.bad_rotations", "error", matrices("mirrored", 40), matrices("mirrored", 0)),
    ("data.bad_rotations", "warning", matrices("other", 1), audited()),
    ("data.quaternion_order", "error", explained("xyzw", apart=90), audited(("pose.apart", 5, ""))),
    ("data.quaternion_order", "error", explained("wxyz", apart=90), audited()),
    ("data.pose_units", "error", explained("unit", apart=90, factor=0.1), explained("none")),
    (
        "data.pose_units",
        "error",
        audited(("pose.unit", 0.001, "meshes"), ("pose.unit", 1.0, "translations")),
        audited(),
    ),
    ("data.wrong_intrinsics", "error", explained("camera", apart=90, camera=[300.0, 300, 160, 120]), explained("none")),
    ("data.poses_apart", "error", audited(("pose.apart", 120, "")), audited(("pose.apart", 8, ""))),
    ("data.poses_apart", "warning", audited(("pose.apart", 20, "")), audited(("pose.apart", 1, ""))),
    ("data.symmetry_wrong", "warning", audited(("pose.symmetry_wrong", 0.21, "cup")), audited()),
    ("data.symmetry_undeclared", "warning", audited(("pose.symmetry_undeclared", "z: any angle", "cup")), audited()),
    ("pose.symmetry_ignored", "error", trained("ploss", [44, 43, 42, 42]), trained("symmetries", [44, 43, 42, 42])),
    ("pose.symmetry_ignored", "warning", trained("ploss", []), trained("sloss", [])),
    (
        "pose.symmetry_ignored",
        "warning",
        trained("ploss", [44, 43, 42], depth=0.5),
        trained("ploss", [44, 43], symmetries=1),
    ),
    ("pose.no_estimates", "error", courses([0.0] * 4, [0.0] * 4), courses([0.9, 0.5, 0.3, 0.2], [0.0, 0.0, 0.4, 0.6])),
    ("pose.no_estimates", "warning", courses([0.9] * 4, [0.0] * 4), courses([0.9] * 2, [0.0] * 2)),
    ("pose.no_estimates", "note", courses([0.0], [0.0]), courses([0.4], [0.0])),
]


@pytest.mark.parametrize(("code", "severity", "bad", "good"), CASES)
def test_faulty_and_sound(code: str, severity: str, bad: Ledger, good: Ledger) -> None:
    """The finding is the first one; `data.poses_apart` may follow the cause that explains it."""
    first, *others = diagnose(bad)
    assert (first.code, first.severity) == (code, severity)
    assert {one.code for one in others} <= set(first.consequences)
    assert "?" not in first.cause + first.title
    assert isinstance(draw(first.to_dict(), bad), Rows | Curves)
    assert diagnose(bad, "zh")[0].title != first.title
    assert not diagnose(good)


def test_the_words_name_object_error_and_chance_level() -> None:
    (found,) = diagnose(trained("ploss", [44, 43, 42, 42]))
    assert "cube" in found.title
    assert "42 degrees off" in found.cause
    assert "41" in found.cause
    (units,) = diagnose(audited(("pose.unit", 0.001, "meshes"), ("pose.unit", 1.0, "translations")))
    assert "multiplied by 1000" in units.cause
    assert "meshes are in mm and translations in m" in units.cause.replace(" the ", " ")
    cm, _ = diagnose(explained("unit", apart=90, factor=10.0))
    assert "meshes are in mm and translations in cm" in cm.cause
    order, _ = diagnose(explained("xyzw", apart=90))
    assert order.title == "Quaternions in the order x, y, z, w were read as w, x, y, z"
