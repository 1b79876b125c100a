"""danlu's defaults on small clean sets: no false alarm, and no validation loss that explodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_sets import SMALL_SETS, Outcome, SmallSet, noise_of, train_small, with_first_fix

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


@pytest.mark.parametrize("fault", [{"lr": 1.0, "model": "mlp"}, {"lr": 1e-6}], ids=str)
def test_the_first_fix_of_a_bad_run_makes_it_better(fault: dict[str, Any], tmp_path: Path) -> None:
    kind = SmallSet("digits", 5, 40, 8, False)
    before = train_small(kind, tmp_path, **{"epochs": 12} | fault)
    assert before.first_fix, before.findings
    after = with_first_fix(kind, before)
    assert after.test > before.test, before.first_fix


@pytest.mark.slow
def test_twenty_small_clean_sets_raise_no_alarm(tmp_path: Path) -> None:
    outcomes = [train_small(kind, tmp_path / str(kind)) for kind in SMALL_SETS]
    worse = [one for kind, before in zip(SMALL_SETS, outcomes) if (one := _worse_by_its_fix(kind, before))]
    assert not worse
    assert not [(one.name, one.val_losses) for one in outcomes if one.explodes]
    alarms = [(one.name, alarm) for one in outcomes for alarm in one.alarms]
    assert not [alarm for alarm in alarms if alarm[1].startswith("error")]
    assert len({name for name, _ in alarms}) <= MAX_WARNINGS * len(outcomes), alarms


def _worse_by_its_fix(kind: SmallSet, before: Outcome) -> str:
    """Sentence on a set whose first proposed fix makes the test accuracy worse by more than noise, else ""."""
    if not before.first_fix:
        return ""
    after = with_first_fix(kind, before)
    if after.test >= before.test - noise_of(before, after):
        return ""
    return f"{before.name}: {' '.join(before.first_fix)} takes {before.test:.3f} to {after.test:.3f}"
