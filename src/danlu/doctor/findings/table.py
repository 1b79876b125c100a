"""The table of all findings, made from the files of this folder.

FAMILY/NAME.py holds the finding FAMILY.NAME as `SPEC`. Adding a file adds the finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from danlu.doctor.findings.spec import FindingSpec


def _specs() -> Iterator[FindingSpec]:
    for family in iter_modules(import_module(f"{__package__}").__path__):
        if family.ispkg:
            package = import_module(f"{__package__}.{family.name}")
            for module in iter_modules(package.__path__):
                yield import_module(f"{package.__name__}.{module.name}").SPEC


FINDINGS: dict[str, FindingSpec] = {
    spec.code: spec for spec in sorted(_specs(), key=lambda spec: (spec.order, spec.code))
}
