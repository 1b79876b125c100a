"""Check the messages of the source against the tables of translations.

Fails when an id has two texts, a translation uses other fields than its message, or a translation belongs to no
message. Lists the messages without a translation, and does not fail for them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from danlu.config import keys
from danlu.console.parser import VERBS, build_parsers
from danlu.doctor.findings.table import FINDINGS
from danlu.message import TRANSLATIONS, fields, table

SOURCE = Path(__file__).resolve().parents[1] / "src" / "danlu"
MAKERS = ("message", "translated", "Message")


def main() -> int:
    found, families = collected()
    errors = [f"{id}: two texts, {sorted(texts)}" for id, texts in found.items() if len(texts) > 1]
    for folder in sorted(path for path in TRANSLATIONS.iterdir() if path.is_dir()):
        errors += compared(folder.name, found, families)
    for error in errors:
        print(f"error: {error}")
    return 1 if errors else 0


def collected() -> tuple[dict[str, set[str]], tuple[str, ...]]:
    """Id -> its texts, and the prefixes of ids that are made while danlu runs (f"metric.key.{key}")."""
    found: dict[str, set[str]] = {f"settings.{key}": {setting.text} for key, setting in keys().items()}
    for spec in FINDINGS.values():
        of_curves = spec.from_curves.words if spec.from_curves else None
        wordings = {"": spec.words, ".before": spec.before_training, ".curves": of_curves}
        for name, words in ((f"{spec.code}{ending}", words) for ending, words in wordings.items()):
            for part in ("title", "cause", "fix") if words else ():
                found[f"finding.{name}.{part}"] = {getattr(words, part)}
    for parser in build_parsers()[1].values():
        for id, text in parser.texts.items():
            found.setdefault(id, set()).add(text)
    for name, verb in VERBS.items():
        found[f"help.verb.{name}"] = {verb.text}
    families = {"doctor.recorded."}  # sentences of ledgers, of which old ones are known to the table alone
    for path in sorted(SOURCE.rglob("*.py")):
        for call in calls(ast.parse(path.read_text(encoding="utf-8"))):
            id, text = call.args[:2]
            if isinstance(id, ast.JoinedStr) and isinstance(id.values[0], ast.Constant):
                families.add(str(id.values[0].value))
            elif isinstance(id, ast.Constant):
                texts = found.setdefault(str(id.value), set())
                if isinstance(text, ast.Constant):
                    texts.add(str(text.value))
    return found, tuple(sorted(families))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """All calls that make a message."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and len(node.args) >= 2:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in MAKERS:
                yield node


def compared(code: str, found: dict[str, set[str]], families: tuple[str, ...]) -> list[str]:
    """Errors of one language; prints what is missing."""
    translations = table(code)
    missing = sorted(found.keys() - translations.keys())
    print(f"{code}: {len(translations)} translations, {len(missing)} messages without one")
    for id in missing:
        print(f"  {id}: {min(found[id], default='')}")
    errors = [
        f"{code}: {id} is the id of no message"
        for id in translations
        if id not in found and not id.startswith(families)
    ]
    for id, text in translations.items():
        if id.startswith("finding."):  # its fields are the evidence of the rule; the doctor's tests compare them
            continue
        for english in found.get(id, ()):
            named = fields(english) if "%{" not in english else set()
            if "%{" not in text and not fields(text) <= named:
                errors.append(f"{code}: {id} uses {sorted(fields(text) - named)}, which its message has not")
    return errors


if __name__ == "__main__":
    sys.exit(main())
