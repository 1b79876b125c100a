"""Fill the wording of findings with their evidence, in a language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from danlu.doctor.finding import Finding, in_english
from danlu.doctor.findings.spec import Words
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.overcome import past
from danlu.doctor.phrase import message, readable
from danlu.doctor.places import layer_place
from danlu.message import Message, fields, language, speaking

CURVES_ONLY = message("doctor.curves.only", "(Judged from curves only.)")
SENTENCE_STARTS = ("layer", "class", "the")  # of places: "layer 2", "class 3", "the function before layer 4"
LAYER_EVIDENCE = ("first", "second", "norm", "layer")  # evidence that names a layer


def worded(finding: Finding, code: str | None = None) -> Finding:
    """The finding with title, cause, remedy and place in language `code`, by default the current one."""
    spec = FINDINGS.get(finding.code)
    return in_words(finding, f"finding.{finding.code}", spec.words if spec else None, code)


def worded_before_training(finding: Finding, code: str | None = None) -> Finding:
    """The same for a finding of static_checks.py, by its wording `before_training`."""
    return in_words(finding, f"finding.{finding.code}.before", FINDINGS[finding.code].before_training, code)


def worded_from_curves(finding: Finding, code: str | None = None) -> Finding:
    """The same for a finding of logged curves, by `FindingSpec.from_curves`; marked as judged from curves only."""
    spec = FINDINGS[finding.code]
    own = spec.from_curves.words if spec.from_curves else None
    id = f"finding.{finding.code}.curves" if own else f"finding.{finding.code}"
    marked = replace(finding, evidence=finding.evidence | {"judged_from": "curves"})
    return in_words(marked, id, own or spec.words, code)


def in_words(finding: Finding, id: str, words: Words | None, code: str | None) -> Finding:
    """Fill `words`; their translations have ids that begin with `id`. Text that the finding already has is kept."""
    with speaking(code or language()):
        title, cause, fix, snippet = finding.code, "", "", ""
        if words is not None:
            snippet = words.chosen_snippet(finding.evidence)
            values = _values(words, snippet, finding.evidence, finding.where)
            title, cause, fix = (
                sentence(str(Message(f"{id}.{part}", getattr(words, part), values)))
                for part in ("title", "cause", "fix")
            )
            snippet = snippet.format(**values)
        if "overcome" in finding.evidence:
            cause = f"{cause} {past(finding.evidence['overcome'])}"
        if finding.evidence.get("judged_from") == "curves":
            cause = f"{cause} {CURVES_ONLY}"
        return replace(
            finding,
            where=in_english(finding.where),
            evidence={key: in_english(value) for key, value in finding.evidence.items()},
            title=finding.title or title,
            cause=finding.cause or cause,
            remedy=finding.remedy or fix,
            place=place(finding.where),
            language=language(),
            snippet=finding.snippet or snippet,
        )


def place(where: str) -> str:
    """Place of a finding as text in the current language."""
    return str(layer_place(where))


def sentence(text: str) -> str:
    """The text with a capital at its start, also where it begins with a value ("layer 2"); names keep their letters."""
    first = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if first in SENTENCE_STARTS else text


def _values(words: Words, snippet: str, evidence: Mapping[str, Any], where: str) -> dict[str, Any]:
    names = set().union(*map(fields, (words.title, words.cause, words.fix, snippet))) | evidence.keys()
    values = {name: readable(evidence.get(name, "?")) for name in names}
    values |= {key: layer_place(evidence[key]) for key in LAYER_EVIDENCE if isinstance(evidence.get(key), str)}
    return values | {"where": layer_place(where)}
