"""danlu's defaults on small clean sets: no false alarm, and no validation loss that explodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_sets import SMALL_SETS, SmallSet, train_small

QUICK = [
    SmallSet("digits", 5, 40, 8, False),
    SmallSet("shapes", 3, 20, 28, False),
    SmallSet("digits", 2, 15, 8, False),
]
MAX_WARNINGS = 0.02  # of the sets


@pytest.mark.parametrize("kind", QUICK, ids=str)
def test_a_small_clean_set_raises_no_alarm(kind: SmallSet, tmp_path: Path) -> None:
    outcome = train_small(kind, tmp_path, epochs=20)
    assert outcome.alarms == []
    assert not outcome.explodes, outcome.val_losses


@pytest.mark.slow
def test_twenty_small_clean_sets_raise_no_alarm(tmp_path: Path) -> None:
    outcomes = [train_small(kind, tmp_path / str(kind)) for kind in SMALL_SETS]
    assert not [(one.name, one.val_losses) for one in outcomes if one.explodes]
    alarms = [(one.name, alarm) for one in outcomes for alarm in one.alarms]
    assert not [alarm for alarm in alarms if alarm[1].startswith("error")]
    assert len({name for name, _ in alarms}) <= MAX_WARNINGS * len(outcomes), alarms
