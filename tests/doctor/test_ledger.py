"""The ledger: round trip, and long series are thinned evenly."""

import json
import math
from itertools import pairwise

import pytest

from danlu.doctor.ledger import MANY_PLACES, MAX_RECORDS, MAX_RECORDS_PER_PLACE, Ledger, LedgerRecord
from danlu.doctor.names import FORMER


def test_written_files_are_read_back(tmp_path):
    ledger = Ledger()
    ledger.add("loss.step", 1.5, step=1)
    ledger.add("loss.step", math.nan, step=2)
    ledger.add("class.actual", [0.25, 0.75], "train", 1)
    again = Ledger.read(ledger.save(tmp_path / "doctor.jsonl"))
    assert again.series("loss.step")[0] == [1, 2]
    assert math.isnan(again.last("loss.step"))
    assert again.last("class.actual", "train") == [0.25, 0.75]
    with pytest.raises(KeyError):
        ledger.add("loss.stepp", 1.0)


@pytest.mark.parametrize(("former", "name"), FORMER.items())
def test_names_of_earlier_versions_are_read(former, name, tmp_path):
    file = tmp_path / "doctor.jsonl"
    file.write_text(json.dumps({"name": former, "where": "", "step": 3, "value": 0.5}) + "\n")
    restored = Ledger()
    restored.restore(json.dumps([[former, "", 1, 1, [[3, 0.5]]]]))
    assert list(Ledger.read(file)) == list(restored) == [LedgerRecord(name, "", 3, 0.5)]


@pytest.mark.parametrize("count", [MAX_RECORDS, MAX_RECORDS + 1, 3 * MAX_RECORDS + 7, 10 * MAX_RECORDS])
def test_a_long_series_is_thinned_evenly(count):
    ledger = Ledger()
    for step in range(1, count + 1):
        ledger.add("loss.step", float(step), step=step)
        assert ledger.last("loss.step") == step
    steps, values = ledger.series("loss.step")
    assert values == steps
    assert steps[0] == 1
    assert MAX_RECORDS // 2 <= len(steps) <= MAX_RECORDS + 2
    gaps = {later - earlier for earlier, later in pairwise(steps[:-1])}
    assert len(gaps) == 1
    assert steps[-1] - steps[-2] <= gaps.pop()


def test_name_with_many_places_has_shorter_series():
    ledger = Ledger()
    for step in range(5 * MAX_RECORDS_PER_PLACE):
        for layer in range(MANY_PLACES + 2):
            ledger.add("weight.norm", 1.0, f"layer{layer}", step)
    assert len(ledger.values("weight.norm", f"layer{MANY_PLACES + 1}")) <= MAX_RECORDS_PER_PLACE + 2


def test_known_values_replace_sampled_ones():
    ledger = Ledger()
    for epoch in (1, 2):
        ledger.add("loss.mean", 9.0, "train", epoch)
    ledger.put("loss.mean", 1.0, "train", 1)
    ledger.put("loss.mean", 3.0, "train", 3)
    assert ledger.series("loss.mean", "train") == ([1, 2, 3], [1.0, 9.0, 3.0])
