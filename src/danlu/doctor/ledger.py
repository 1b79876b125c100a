"""The ledger: the measurements of the instruments, and the only input of the rules.

A record is (name, where, step, value). Names and units are in names.py; a value is a number, a short text or a small
list of these. NaN and infinity are kept. Memory is bounded: when a series is long, every second record is dropped,
and from then on only every second one is kept.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from danlu.doctor.names import NAMES, present_name
from danlu.message import message
from danlu.refuse import Refusal

Value = float | int | str | list
MAX_RECORDS = 4096  # records of one series
MAX_RECORDS_PER_PLACE = 256  # the same where a name is written at many places, as for every layer
MANY_PLACES = 8  # places


class LedgerRecord(NamedTuple):
    """One value of the ledger.

    name: one of NAMES. where: its place, "" for the whole run. step: training step or epoch at which it was written, if
    any. value: a number, a text or a list.
    """

    name: str
    where: str
    step: int | None
    value: Any


class _Series:
    """Pairs of step and value, evenly spread over all that were written, always with the last one."""

    __slots__ = ("pairs", "stride", "written")

    def __init__(self) -> None:
        self.pairs: list[tuple[int | None, Any]] = []
        self.stride, self.written = 1, 0

    def add(self, pair: tuple[int | None, Any], most: int) -> None:
        if self.written and (self.written - 1) % self.stride:
            self.pairs.pop()  # it was there as the last one only
        self.pairs.append(pair)
        self.written += 1
        if len(self.pairs) > most and (self.written - 1) % (2 * self.stride) == 0:
            self.pairs = self.pairs[::2]
            self.stride *= 2


class Ledger:
    """Records by name and place: written by `add`, `put`, read by `series`, `last`, `first`, `wheres`, `has`."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, _Series]] = defaultdict(dict)

    def add(self, name: str, value: Value, where: str = "", step: int | None = None) -> None:
        """Write one record. Raises KeyError for a name that is not in names.py."""
        if name not in NAMES:
            raise KeyError(f"{name} is not a name of the ledger (see doctor/names.py)")
        places = self._records[name]
        if where not in places:
            places[where] = _Series()
        places[where].add((step, value), MAX_RECORDS if len(places) < MANY_PLACES else MAX_RECORDS_PER_PLACE)

    def put(self, name: str, value: Value, where: str, step: int) -> None:
        """Write one record, replacing that of the same step."""
        pairs = self._pairs(name, where)
        for index, pair in enumerate(pairs):
            if pair[0] == step:
                pairs[index] = (step, value)
                return
        self.add(name, value, where, step)

    def _pairs(self, name: str, where: str) -> list[tuple[int | None, Any]]:
        series = self._records.get(name, {}).get(where)
        return series.pairs if series else []

    def series(self, name: str, where: str = "") -> tuple[list[int], list[Any]]:
        """Steps and values in the order in which they were written (a missing step is 0)."""
        pairs = self._pairs(name, where)
        return [step or 0 for step, _ in pairs], [value for _, value in pairs]

    def values(self, name: str, where: str = "") -> list[Any]:
        """Values of a series."""
        return self.series(name, where)[1]

    def last(self, name: str, where: str = "", default: Any = None) -> Any:
        """Value written last."""
        pairs = self._pairs(name, where)
        return pairs[-1][1] if pairs else default

    def first(self, name: str, where: str = "", default: Any = None) -> Any:
        """Value written first."""
        pairs = self._pairs(name, where)
        return pairs[0][1] if pairs else default

    def wheres(self, name: str) -> list[str]:
        """Places at which `name` was written, in the order of their first record."""
        return list(self._records.get(name, {}))

    def has(self, name: str, where: str | None = None) -> bool:
        """Return whether `name` was written at all, or at `where`."""
        places = self._records.get(name, {})
        return bool(places) if where is None else where in places

    def facts(self, name: str) -> dict[str, Any]:
        """Map of every place to the value written last."""
        return {where: series.pairs[-1][1] for where, series in self._records.get(name, {}).items()}

    def __iter__(self) -> Iterator[LedgerRecord]:
        for name, places in self._records.items():
            for where, series in places.items():
                for step, value in series.pairs:
                    yield LedgerRecord(name, where, step, value)

    def __len__(self) -> int:
        return sum(len(series.pairs) for places in self._records.values() for series in places.values())

    def state(self) -> str:
        """Everything in the ledger as JSON, including how its series are thinned out; see `restore`."""
        series = [
            [name, where, one.stride, one.written, one.pairs]
            for name, places in self._records.items()
            for where, one in places.items()
        ]
        return json.dumps(series)

    def restore(self, state: str) -> None:
        """Replace the content by that of a saved `state`."""
        self._records.clear()
        for name, where, stride, written, pairs in json.loads(state):
            one = self._records[present_name(name)][where] = _Series()
            one.stride, one.written, one.pairs = stride, written, [(step, value) for step, value in pairs]

    def lines(self) -> Iterator[str]:
        """One line of JSON per record."""
        for record in self:
            yield json.dumps(record._asdict(), ensure_ascii=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one JSON line per record, {"name", "where", "step", "value"}, atomically."""
        path = Path(path)
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(self.lines())
        temporary.replace(path)
        return path

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Ledger:
        """Read what `save` wrote. Unknown names (of a later version) are ignored. Raises Refusal for a damaged line."""
        ledger = cls()
        with Path(path).open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    record = json.loads(line)
                    name = present_name(record["name"])
                    if name in NAMES:
                        ledger.add(name, record["value"], record["where"], record["step"])
                except (ValueError, KeyError, TypeError, RecursionError):
                    raise Refusal(
                        message(
                            "doctor.refuse.line_damaged_measurement_doctor",
                            "{path} line {number} is damaged: it is no measurement of the doctor",
                            path=path,
                            number=number,
                        )
                    ) from None
        return ledger
