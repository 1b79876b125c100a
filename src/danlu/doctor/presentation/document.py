"""Reference page of all findings, written to docs/findings.md by `python tools/pages.py`."""

from __future__ import annotations

import inspect
import re
import sys
from itertools import groupby

from danlu.doctor.findings.spec import FindingSpec, Words
from danlu.doctor.findings.table import FINDINGS
from danlu.doctor.names import NAMES

HEAD = """# Findings of the doctor

Generated from `src/danlu/doctor/findings/` by `python tools/pages.py`; do not edit. Words in {braces} are
filled with the measurements of the run. A finding has a severity: *error* (the result is or will be wrong), *warning*
(it costs accuracy or time) or *note*.
"""


def document() -> str:
    """The page as Markdown."""
    parts = [HEAD]
    for family, codes in groupby(sorted(FINDINGS), key=lambda code: code.partition(".")[0]):
        parts.append(f"## {family}\n")
        parts += [section(FINDINGS[code]) for code in codes]
    return "\n".join(parts)


def section(spec: FindingSpec) -> str:
    """Section of one finding."""
    lines = [f"### {spec.code}\n", f"**{template_text(spec.words.title)}** ({', '.join(spec.severities)})\n"]
    lines += _wording(spec.words)
    if spec.before_training is not None:
        lines += [
            f"Before training: **{template_text(spec.before_training.title)}**\n",
            *_wording(spec.before_training),
        ]
    if spec.from_curves is not None and spec.from_curves.words is not None:
        lines += [
            f"From curves only: **{template_text(spec.from_curves.words.title)}**\n",
            *_wording(spec.from_curves.words),
        ]
        lines.append(f"Rule for curves: {inspect.cleandoc(spec.from_curves.rule.__doc__ or '')}\n")
    lines.append(f"Rule: {inspect.cleandoc(spec.rule.__doc__ or '')}\n")
    measured = "; ".join(f"`{need}` ({NAMES[need.partition('[')[0]].meaning})" for need in spec.needs)
    lines.append(f"Based on: {measured}\n")
    if spec.explains:
        lines.append(f"Explains: {', '.join(f'`{code}`' for code in spec.explains)}\n")
    return "\n".join(lines)


def _wording(words: Words) -> list[str]:
    snippets = [words.snippet] if isinstance(words.snippet, str) else list(dict.fromkeys(words.snippet.values()))
    blocks = [f"```python\n{template_text(snippet)}\n```\n" for snippet in snippets if snippet]
    return [f"{template_text(words.cause)}\n", f"Fix: {template_text(words.fix)}\n", *blocks]


def template_text(template: str) -> str:
    """A template with its fields as {name}, and braces of code undoubled."""
    plain = re.sub(r"(?<!\{)\{(\w+)(:[^}]*)?\}(?!\})", r"{\1}", template)
    return plain.replace("{{", "{").replace("}}", "}")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(document())
