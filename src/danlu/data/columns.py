"""Encoding of table columns as network inputs, fitted on the training rows only.

Numbers: missing values are replaced by the median, then standardised. Dates: the same, in days. Text and booleans: one
input per category (one-hot). The fitted values are plain JSON and stored with the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from danlu.message import clauses, message
from danlu.refuse import Refusal, nearest, refusal

if TYPE_CHECKING:
    import pandas

Series = Any  # a pandas.Series; its own annotations are too general for type checking

# A column of text beyond both limits is a name or an identifier, not a category.
MAX_CATEGORIES = 50
MAX_DISTINCT_FRACTION = 0.2  # number of categories / number of rows


@dataclass(frozen=True)
class Column:
    """Encoding of one column. fill: median of the training rows, for missing values. categories: sorted texts."""

    name: str
    kind: Literal["number", "date", "category"]
    fill: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str, ...] = ()


@dataclass
class ColumnEncoder:
    """Encoder of the columns of a DataFrame as float32 (N, D).

    columns: encoding of each used column. dropped: names of unused columns. notes: reasons for these. A missing
    category, or one that is not in the training rows, is encoded as zeros; `unseen` counts the latter per column over
    all calls of `transform`.
    """

    columns: tuple[Column, ...]
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unseen: dict[str, int] = field(default_factory=dict)

    @classmethod
    def fit(cls, frame: pandas.DataFrame, unlearnt: Mapping[str, str] | None = None) -> ColumnEncoder:
        """Fit the encoder to the training rows.

        unlearnt: columns not to use -> reason, as a clause that continues "it". Raises Refusal if no column is usable.
        """
        columns: list[Column] = []
        unused: dict[str, list[str]] = {}  # reason -> columns
        for name, series in _by_name(frame).items():
            made = (unlearnt or {}).get(name) or _fit(name, series)
            if isinstance(made, Column):
                columns.append(made)
            else:
                unused.setdefault(made, []).append(name)
        text = "not used, as it {reason}: {columns}"
        notes = tuple(
            message("data.note.columns_not_used", text, reason=reason, columns=_listed(names))
            for reason, names in unused.items()
        )
        if not columns:
            raise Refusal(
                message(
                    "data.refuse.no_usable_column",
                    "the table must have a usable column; {notes}",
                    notes=clauses(notes),
                )
            )
        return cls(tuple(columns), tuple(name for names in unused.values() for name in names), notes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the D outputs: "column" or "column=category"."""
        found: list[str] = []
        for column in self.columns:
            found += [f"{column.name}={c}" for c in column.categories] if column.kind == "category" else [column.name]
        return tuple(found)

    def transform(self, frame: pandas.DataFrame, where: str = "the table") -> Tensor:
        """Encode rows as float32 (N, D); the order of the columns is free. where: location of the rows, for messages.

        Raises Refusal for missing or unknown columns and for values of another kind.
        """
        self._check(frame, where)
        series = _by_name(frame)
        parts = [self._encode(column, series[column.name], where) for column in self.columns]
        return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))

    def to_dict(self) -> dict[str, Any]:
        """Convert the fitted values to plain JSON."""
        return {"columns": [asdict(column) for column in self.columns], "dropped": self.dropped, "notes": self.notes}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ColumnEncoder:
        """Create an encoder from the values of `to_dict`. Raises Refusal for other values."""
        try:
            columns = tuple(Column(**(c | {"categories": tuple(c["categories"])})) for c in values["columns"])
            return cls(columns, tuple(values["dropped"]), tuple(values["notes"]))
        except (KeyError, TypeError) as error:
            raise Refusal(
                message(
                    "data.refuse.columns_stored_weights_damaged",
                    "the columns stored with the weights are damaged: {error}; train again",
                    error=str(error),
                )
            ) from None

    def _check(self, frame: pandas.DataFrame, where: str) -> None:
        given = dict.fromkeys(map(str, frame.columns))  # ordered sets, because a table may have thousands of columns
        wanted = dict.fromkeys(column.name for column in self.columns)
        missing = [name for name in wanted if name not in given]
        extra = [name for name in given if name not in wanted and name not in self.dropped]
        if not missing and not extra:
            return
        parts = [f"lacks {_listed(missing)}"] * bool(missing) + [f"also has {_listed(extra)}"] * bool(extra)
        near = nearest(missing[0], extra) if missing else []
        hint = (
            message("data.hint.meant", "; is {near!r} meant to be {missing!r}?", near=near[0], missing=missing[0])
            if near
            else ""
        )
        raise Refusal(
            message(
                "data.refuse.columns_training_data",
                "{where} must have the columns of the training data, but {parts}{hint}",
                where=where,
                parts=" and ".join(parts),
                hint=hint,
            )
        )

    def _encode(self, column: Column, values: Series, where: str) -> np.ndarray:
        """Encode one column: (N, 1) for numbers and dates, (N, categories) otherwise."""
        if column.kind == "category":
            text = _text(values)
            code = text.map({c: i for i, c in enumerate(column.categories)}).fillna(-1).to_numpy(np.int64)
            if new := int(((code < 0) & text.notna().to_numpy()).sum()):
                self.unseen[column.name] = self.unseen.get(column.name, 0) + new
            return code[:, None] == np.arange(len(column.categories))
        numbers = _numbers(values) if column.kind == "number" else _days(values)
        if numbers is None:
            thing = f"column {column.name!r} of {where}"
            raise refusal(
                thing,
                message("data.wanted.training_data", "{kind}s as in the training data", kind=column.kind),
                _odd(values),
            )
        return ((np.where(np.isfinite(numbers), numbers, column.fill) - column.mean) / column.std)[:, None]


@dataclass(frozen=True)
class TargetScaler:
    """Standardisation of regression targets (N, T) by the mean and standard deviation of the training samples."""

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, targets: Tensor, on: bool = True) -> TargetScaler:
        """Fit to targets of the training samples, (N, T). on: False for the identity. Constant columns get std 1."""
        if not on:
            return cls(torch.zeros(targets.shape[1]), torch.ones(targets.shape[1]))
        std = targets.double().std(0, correction=0)
        return cls(targets.double().mean(0).float(), torch.where(std > 0, std, 1.0).float())

    def transform(self, targets: Tensor) -> Tensor:
        """Standardise targets (N, T)."""
        return (targets - self.mean) / self.std

    def inverse(self, scaled: Tensor) -> Tensor:
        """Map standardised values (N, T) back to the units of the targets."""
        return scaled * self.std + self.mean

    def to_dict(self) -> dict[str, list[float]]:
        """Return mean and standard deviation as lists of T numbers, for JSON."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, list[float]]) -> TargetScaler:
        """Create a scaler from the values of `to_dict`; from an empty dict, the identity."""
        return cls(torch.tensor(values.get("mean", [0.0])), torch.tensor(values.get("std", [1.0])))


def as_numbers(values: Series) -> np.ndarray | None:
    """Convert numbers, or dates to days, to float64 (N,) with NaN for missing values; None for other columns."""
    numbers = _numbers(values)
    return _days(values) if numbers is None else numbers


def _fit(name: str, values: Series) -> Column | str:
    """Fit the encoding of a column; returns the reason, as a clause that continues "it", if it is not used."""
    import pandas

    if not values.notna().any():
        return message("data.why.empty_column", "is empty")
    if pandas.api.types.is_numeric_dtype(values) and not pandas.api.types.is_bool_dtype(values):
        return _fit_numbers(name, "number", _numbers(values))
    days = _days(values)
    return _fit_categories(name, _text(values)) if days is None else _fit_numbers(name, "date", days)


def _fit_numbers(name: str, kind: Literal["number", "date"], numbers: Any) -> Column | str:
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return message("data.why.empty_column", "is empty")
    fill = float(np.median(known))
    filled = np.where(np.isfinite(numbers), numbers, fill)
    if filled.min() == filled.max():
        return message("data.why.one_value", "has only one value")
    return Column(name, kind, fill, float(filled.mean()), float(filled.std()))


def _fit_categories(name: str, text: Series) -> Column | str:
    categories = tuple(sorted(text.dropna().unique()))
    if len(categories) > MAX_CATEGORIES and len(categories) > MAX_DISTINCT_FRACTION * len(text):
        return message("data.why.many_texts", "has too many different texts for a category")
    if len(categories) == 1 and text.notna().all():
        return message("data.why.one_value", "has only one value")
    return Column(name, "category", categories=categories)


def _numbers(values: Series) -> np.ndarray | None:
    """Convert to float64 (N,); None if some value is not a number."""
    import pandas

    if pandas.api.types.is_datetime64_any_dtype(values):
        return None
    if pandas.api.types.is_numeric_dtype(values):
        return values.to_numpy(np.float64, na_value=np.nan)
    numbers: Series = pandas.to_numeric(values, errors="coerce")
    if numbers.notna().sum() < values.notna().sum():
        return None
    return numbers.to_numpy(np.float64, na_value=np.nan)


def _days(values: Series) -> np.ndarray | None:
    """Convert dates (year first) to days since 1970, float64 (N,); None if some value is not such a date.

    Other forms are ambiguous: 1/2/2024 is a day in January or in February.
    """
    import pandas

    if not pandas.api.types.is_datetime64_any_dtype(values):
        text = values.dropna().astype(str)
        if not text.str.match(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}").all():
            return None
        values = values.astype("string").str.replace("/", "-").str.replace(r"-(\d)\b", r"-0\1", regex=True)
    dates: Series = pandas.to_datetime(values, format="ISO8601", errors="coerce", utc=True)
    if dates.notna().sum() < values.notna().sum():
        return None
    days = (dates - pandas.Timestamp(0, tz="UTC")) / pandas.Timedelta(days=1)
    return days.to_numpy(np.float64, na_value=np.nan)


def _text(values: Series) -> Series:
    """Convert values to text, except missing ones; integers that a gap made floats are written as integers."""

    def text(value: object) -> str:
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

    return values.astype(object).map(text, na_action="ignore")


def _odd(values: Series) -> object:
    """Return the first value that is not a number, or the first value."""
    import pandas

    known = values.dropna()
    numbers: Series = pandas.to_numeric(known, errors="coerce")
    odd = known[numbers.isna()]
    return str((odd if len(odd) else known).iloc[0])


def _by_name(frame: pandas.DataFrame) -> dict[str, Series]:
    return {str(name): series for name, series in frame.items()}


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:8])) + f" and {len(names) - 8} more" * (len(names) > 8)
