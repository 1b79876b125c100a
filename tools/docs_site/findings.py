"""Pages of the findings of the doctor: words, figure and example, rule, and the planted fault that shows it."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import textwrap
from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

from danlu.doctor.finding import Finding
from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.ledger import Ledger
from danlu.doctor.names import NAMES
from danlu.doctor.presentation.cards import draw
from danlu.doctor.presentation.document import template_text
from danlu.doctor.presentation.plot import render
from danlu.doctor.presentation.terms import severity_term
from danlu.doctor.wording import worded
from danlu.message import translated

from .markdown import fenced, link, prose, table
from .words import word

FIELD = re.compile(r"\{\w+\}")
ROOT = Path(__file__).resolve().parents[2]
FAULTS = ROOT / "benchmarks" / "faults"
LEDGERS = ("test_rules", "test_rules_fit", "test_rules_optim", "test_rules_detection")


def pages() -> dict[str, str]:
    """Path in the site -> Markdown, in the current language."""
    return {"findings/index.md": _index()} | {f"findings/{code}.md": _page(spec) for code, spec in FINDINGS.items()}


def families() -> dict[str, list[str]]:
    """Family -> its codes."""
    return {name: list(codes) for name, codes in groupby(sorted(FINDINGS), key=lambda code: code.partition(".")[0])}


def _index() -> str:
    parts = [
        f"# {word('findings.title', 'Findings of the doctor')}\n",
        word(
            "findings.intro",
            "A finding is one thing that is wrong with a training, with its evidence, its cause and its fix. It has a "
            "severity: *error* (the result is or will be wrong), *warning* (it costs accuracy or time) or *note*.",
        )
        + "\n",
    ]
    for family, codes in families().items():
        rows = []
        for code in codes:
            spec = FINDINGS[code]
            rows.append(
                (link(f"`{code}`", f"findings/{code}.md", "findings/index.md"), prose(_title(spec)), _severities(spec))
            )
        columns = (
            word("findings.code", "code"),
            word("findings.finding", "finding"),
            word("findings.severity", "severity"),
        )
        parts += [f"## {family}\n", table(columns, rows)]
    return "\n".join(parts)


def _page(spec: FindingSpec) -> str:
    here, ledger = f"findings/{spec.code}.md", example(spec.code)
    found = next((one for one in spec.rule(ledger) if one.code == spec.code), None) if ledger is not None else None
    shown = worded(found) if found else None
    parts = [f"# {spec.code}\n", f"**{prose(shown.title if shown else _title(spec))}** ({_severities(spec)})\n"]
    parts += [f"## {word('findings.why', 'Why')}\n"]
    parts += [prose(shown.cause if shown else _part(spec.code, spec.words, "cause")) + "\n"]
    parts += _figure(shown, ledger)
    parts += [
        f"## {word('findings.fix', 'Fix')}\n",
        prose(shown.remedy if shown else _part(spec.code, spec.words, "fix")) + "\n",
    ]
    parts += [fenced(snippet, "python") for snippet in _snippets(spec.words)]
    parts += _other_words(spec)
    if any("…" in part for part in parts):
        parts.append(f"*{word('findings.field', '… stands for what was measured.')}*\n")
    parts += _rule(spec) + _related(spec, here) + _planted(spec.code, here)
    return "\n".join(parts)


def _title(spec: FindingSpec) -> str:
    return _part(spec.code, spec.words, "title")


def _part(id: str, words: Words, part: str) -> str:
    """Title, cause or fix; measured values, which a page without an example does not have, as an ellipsis."""
    return FIELD.sub("…", template_text(translated(f"finding.{id}.{part}", getattr(words, part))))


def _severities(spec: FindingSpec) -> str:
    return ", ".join(str(severity_term(one)) for one in spec.severities)


def _snippets(words: Words) -> list[str]:
    found = [words.snippet] if isinstance(words.snippet, str) else list(dict.fromkeys(words.snippet.values()))
    return [template_text(one) for one in found if one]


def _figure(shown: Finding | None, ledger: Ledger | None) -> list[str]:
    """The chart of the example, as the report shows it."""
    if shown is None or ledger is None:
        return []
    figure = draw(shown.to_dict(), ledger)
    note = word("findings.example", "The numbers are those of the example on which the rule is tested.")
    drawn = [f'<div class="finding chart">{"".join(render(figure).splitlines())}</div>\n'] if figure else []
    return [*drawn, f"*{note}*\n"]


def _other_words(spec: FindingSpec) -> list[str]:
    """Wordings before training and from curves only, where there are any."""
    curves = spec.from_curves.words if spec.from_curves else None
    parts: list[str] = []
    for words, ending, title in (
        (spec.before_training, "before", word("findings.before", "Before training")),
        (curves, "curves", word("findings.curves", "From curves only")),
    ):
        if words:
            id = f"{spec.code}.{ending}"
            parts += [
                f"## {title}\n",
                f"**{prose(_part(id, words, 'title'))}**\n",
                prose(_part(id, words, "cause")) + "\n",
            ]
            parts += [f"{word('findings.fix', 'Fix')}: {prose(_part(id, words, 'fix'))}\n"]
            parts += [fenced(one, "python") for one in _snippets(words)]
    return parts


def _rule(spec: FindingSpec) -> list[str]:
    parts = [f"## {word('findings.rule', 'Rule')}\n", prose(inspect.cleandoc(spec.rule.__doc__ or "")) + "\n"]
    if spec.from_curves:
        label = word("findings.rule_curves", "From curves that another tool logged (`danlu doctor LOG`):")
        parts.append(f"{label} {prose(inspect.cleandoc(spec.from_curves.rule.__doc__ or ''))}\n")
    rows = [(f"`{need}`", NAMES[need.partition("[")[0]].meaning) for need in spec.needs]
    if rows:
        parts += [word("findings.needs", "Needed measurements:") + "\n"]
        parts += [table((word("findings.name", "name"), word("findings.meaning", "meaning")), rows)]
    return parts


def _related(spec: FindingSpec, here: str) -> list[str]:
    explained_by = [code for code, other in FINDINGS.items() if _matches(spec.code, other.explains)]
    against = [code for code, o in FINDINGS.items() if code in spec.contradicts or spec.code in o.contradicts]
    explains = [code for code in FINDINGS if _matches(code, spec.explains) and code != spec.code]
    lines = []
    for text, codes in (
        (word("findings.explains", "Explains, where both are found:"), explains),
        (word("findings.explained", "Explained by:"), [code for code in explained_by if code != spec.code]),
        (word("findings.against", "Excludes:"), against),
    ):
        if codes:
            lines.append(f"- {text} " + ", ".join(link(f"`{c}`", f"findings/{c}.md", here) for c in codes))
    return [f"## {word('findings.related', 'Related findings')}\n", "\n".join(lines) + "\n"] if lines else []


def _matches(code: str, patterns: tuple[str, ...]) -> bool:
    family = code.partition(".")[0]
    return code in patterns or f"{family}.*" in patterns


# Examples and planted faults come from the tests and benchmarks of the repository.


@lru_cache
def _examples() -> dict[str, Ledger]:
    """Code -> a ledger with the fault, from the tests of the rules."""
    found: dict[str, Ledger] = {}
    for name in LEDGERS:
        module = _loaded(ROOT / "tests" / "doctor" / f"{name}.py")
        cases = module.CASES
        pairs = cases.items() if isinstance(cases, Mapping) else [(case[0], case[2:]) for case in cases]
        for code, case in pairs:
            faulty = case[0]
            found.setdefault(code, faulty if isinstance(faulty, Ledger) else module.written(*faulty))
    return found


def example(code: str) -> Ledger | None:
    """The ledger of the tests in which the fault shows; None without one."""
    return _examples().get(code)


@lru_cache
def faults() -> dict[str, list[Any]]:
    """Code -> the planted faults of the benchmark that show it."""
    sys.path.insert(0, str(FAULTS))
    try:
        every = _loaded(FAULTS / "faults.py").EVERY
    finally:
        sys.path.remove(str(FAULTS))
    return {code: [one for one in every if one.code == code] for code in {one.code for one in every}}


def _loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_site_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _planted(code: str, here: str) -> list[str]:
    """The faults of the benchmark, with their code."""
    planted = faults().get(code, [])
    if not planted:
        return []
    benchmark = link(word("findings.benchmark", "benchmark of planted faults"), "project/planted-faults.md", here)
    intro = word(
        "findings.planted_intro", "Faults of the {benchmark} that must show this finding:", benchmark=benchmark
    )
    parts = [f"## {word('findings.planted', 'Planted faults')}\n", intro + "\n"]
    for fault in planted:
        strengths = ", ".join(name for name in fault.strengths if name)
        extra = f" ({strengths})" if strengths else ""
        parts.append(f"**{fault.name}**{extra}\n")
        source = _source(fault.plant)
        parts += [fenced(source, "python")] if source else []
    command = f'python benchmarks/faults/fixes.py --name "{planted[0].name}"'
    label = word("findings.try", "Train with the first of them, and again with the doctor's fix:")
    return [*parts, f"{label}\n", fenced(command, "sh")]


def _source(plant: Any) -> str:
    """Source of the class or function that plants a fault; "" for a lambda, which stands in the table."""
    inside = [cell.cell_contents for cell in plant.__closure__ or ()]
    thing = next((one for one in inside if inspect.isclass(one) or inspect.isfunction(one)), plant)
    if getattr(thing, "__name__", "") == "<lambda>":
        return ""
    return textwrap.dedent(inspect.getsource(thing))
