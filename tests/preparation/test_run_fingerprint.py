"""The hash by which a resumed run knows its data and network again."""

from __future__ import annotations

from dataclasses import fields, make_dataclass, replace

from danlu.config import Config, with_values
from danlu.preparation.prepare import prepare
from danlu.run.signature import Signature


def test_a_signature_with_one_more_field_is_known_again() -> None:
    """A later version, whose signatures can say more, resumes the runs of this one."""
    prepared = prepare(with_values(Config(), {"data.path": "digits", "data.limit": 100, "precision": "fp32"}))
    newer = make_dataclass("Newer", [("later", int | None, None)], bases=(Signature,), frozen=True)
    values = {one.name: getattr(prepared.signature, one.name) for one in fields(Signature)}
    assert replace(prepared, signature=newer(**values)).fingerprint == prepared.fingerprint
    assert replace(prepared, signature=newer(**values, later=1)).fingerprint != prepared.fingerprint
