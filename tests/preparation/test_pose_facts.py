"""Facts about poses in the ledger, and the finding of a symmetric object under PLoss before any training."""

from __future__ import annotations

import pytest

from danlu.doctor.diagnose import diagnose
from danlu.doctor.ledger import Ledger
from danlu.pose.solids import solids
from danlu.preparation.pose_facts import record_models


def test_symmetric_solids_under_ploss_are_found() -> None:
    ledger = Ledger()
    record_models(ledger, solids(), "ploss")
    assert ledger.facts("pose.symmetries") == {"L-prism": 1, "cube": 24, "cylinder": 72}
    level = ledger.facts("pose.chance")
    assert level["L-prism"] == pytest.approx(126.5, abs=2)  # 90 + 360 / pi^2: mean angle of a random rotation
    assert level["cube"] == pytest.approx(40.7, abs=1)
    (found,) = diagnose(ledger)
    assert (found.code, found.severity) == ("pose.symmetry_ignored", "warning")
    assert "cube, cylinder" in found.title


def test_other_losses_and_asymmetric_objects_are_sound() -> None:
    for models, loss in ((solids(), "symmetries"), (solids(), "sloss"), (solids()[:1], "ploss")):
        ledger = Ledger()
        record_models(ledger, models, loss)
        assert not diagnose(ledger)
