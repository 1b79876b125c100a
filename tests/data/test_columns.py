import json

import numpy as np
import pandas
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from danlu.data.columns import ColumnEncoder, TargetScaler
from danlu.refuse import Refusal


@pytest.fixture
def frame() -> pandas.DataFrame:
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "rooms": rng.integers(1, 9, 100),
            "age": rng.normal(1e6, 3, 100),
            "sea": rng.choice(["near", "far", "Ünder"], 100),
            "new": rng.random(100) > 0.5,
        }
    )
    frame.loc[::7, "age"] = np.nan
    return frame


def test_inputs_are_those_of_scikit_learn(frame):
    train, rest = frame[:70], frame[70:].assign(sea="elsewhere")
    theirs = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["rooms", "age"]),
            ("text", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["sea", "new"]),
        ]
    ).fit(train)
    ours = ColumnEncoder.fit(train)
    for part in (train, rest):
        expected = torch.tensor(theirs.transform(part), dtype=torch.float32)
        torch.testing.assert_close(ours.transform(part), expected)
    assert ours.names == ("rooms", "age", "sea=far", "sea=near", "sea=Ünder", "new=False", "new=True")
    assert ours.unseen == {"sea": 30}


def test_only_training_rows_are_fitted(frame):
    changed = frame.copy()
    changed.loc[70:, "rooms"] = 1000
    a, b = ColumnEncoder.fit(frame[:70]), ColumnEncoder.fit(changed[:70])
    assert a.to_dict() == b.to_dict()


def test_json_keeps_everything(frame):
    encoder = ColumnEncoder.fit(frame.assign(same=1))
    again = ColumnEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert torch.equal(again.transform(frame), encoder.transform(frame))
    assert (again.names, again.dropped, again.notes) == (encoder.names, encoder.dropped, encoder.notes)


def test_the_order_of_columns_does_not_matter(frame):
    encoder = ColumnEncoder.fit(frame)
    assert torch.equal(encoder.transform(frame[frame.columns[::-1]]), encoder.transform(frame))


def test_missing_values_give_the_median_and_no_category():
    encoder = ColumnEncoder.fit(pandas.DataFrame({"x": [1.0, 2.0, 9.0, np.inf], "c": ["a", "b", None, "a"]}))
    inputs = encoder.transform(pandas.DataFrame({"x": [2.0, np.nan], "c": ["a", None]}))
    assert inputs[0, 0] == inputs[1, 0]
    assert inputs[:, 1:].tolist() == [[1, 0], [0, 0]]
    assert encoder.unseen == {}


def test_dates_are_numbers_of_days():
    dates = pandas.DataFrame({"day": ["2024-01-01", "2024/1/3", None, "2024-01-05 12:00"]})
    encoder = ColumnEncoder.fit(dates)
    (column,) = encoder.columns
    assert column.kind == "date"
    assert column.fill == (pandas.Timestamp("2024-01-03") - pandas.Timestamp(0)).days
    inputs = encoder.transform(dates)[:, 0] * column.std
    torch.testing.assert_close(inputs - inputs[0], torch.tensor([0, 2, 2, 4.5]), atol=1e-4, rtol=0)
    as_times = pandas.DataFrame({"day": pandas.to_datetime(["2024-01-03"])})
    assert encoder.transform(as_times)[0, 0] == encoder.transform(dates)[1, 0]


def test_columns_without_use_are_named_with_the_reason():
    frame = pandas.DataFrame(
        {"x": range(60), "same": 3, "void": [None] * 60, "id": [f"n{i}" for i in range(60)], "word": "one"}
    )
    encoder = ColumnEncoder.fit(frame)
    assert encoder.names == ("x",)
    assert sorted(encoder.dropped) == ["id", "same", "void", "word"]
    notes = " | ".join(encoder.notes)
    assert "only one value: 'same', 'word'" in notes
    assert "empty: 'void'" in notes
    assert "too many different texts for a category: 'id'" in notes
    assert encoder.transform(frame[["x"]]).shape == (60, 1)  # and need not be there later
    with pytest.raises(Refusal, match="a usable column"):
        ColumnEncoder.fit(frame[["same", "id"]])


def test_codes_read_alike_with_and_without_gaps():
    encoder = ColumnEncoder.fit(pandas.DataFrame({"code": ["1", "2", "x"]}))
    assert encoder.transform(pandas.DataFrame({"code": [2.0, np.nan]})).tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.drop(columns="rooms"), "lacks 'rooms'"),
        (lambda f: f.assign(price=1), "also has 'price'"),
        (lambda f: f.rename(columns={"rooms": "room"}), "is 'room' meant to be 'rooms'"),
        (lambda f: f.assign(rooms="many"), "'rooms' of the table must be numbers .* 'many'"),
        (lambda f: f.assign(rooms=pandas.Timestamp("2024-01-01")), "'rooms' of the table must be numbers"),
    ],
)
def test_tables_of_another_shape_are_refused(frame, change, says):
    with pytest.raises(Refusal, match=says):
        ColumnEncoder.fit(frame).transform(change(frame))


def test_targets_scale_and_come_back():
    targets = torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    scaler = TargetScaler.fit(targets)
    scaled = scaler.transform(targets)
    assert scaled[:, 0].mean().item() == pytest.approx(0, abs=1e-6)
    assert scaled[:, 0].std(correction=0).item() == pytest.approx(1)
    assert scaled[:, 1].tolist() == [0, 0, 0]
    torch.testing.assert_close(scaler.inverse(scaled), targets)
    again = TargetScaler.from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert torch.equal(again.transform(targets), scaled)
    for idle in (TargetScaler.fit(targets, on=False), TargetScaler.from_dict({})):
        assert torch.equal(idle.transform(targets), targets)
