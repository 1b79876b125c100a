"""Result of `danlu.diagnose`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from danlu.doctor.finding import Finding
from danlu.run.result import Result


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Result):
    """Findings of the doctor about a run, data and a network, or the log of another tool.

    The JSON key of `target` is "of".
    """

    target: str  # run folder, data or log
    language: str  # en or zh, of the findings' texts
    findings: list[Finding]  # by severity and confidence
    landscape: Mapping[str, Any] | None = None  # with --landscape
    healing: Mapping[str, Any] | None = None  # with --heal
    examined: Mapping[str, list[str]] | None = None  # of data: sentences about what was checked, and what not_judged
    log: Mapping[str, Any] | None = None  # of a log: format, evidence, curves (name by meaning), not_judged
    page: str | None = None  # of a log: HTML page

    KEYS: ClassVar[Mapping[str, str]] = {"target": "of"}

    def __repr__(self) -> str:
        codes = ", ".join(f"{finding['severity']} {finding['code']}" for finding in self.findings)
        return f"Diagnosis({self.target}: {codes or 'nothing found'})"

    __str__ = __repr__
