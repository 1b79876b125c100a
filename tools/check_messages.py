"""Check the messages of the source against the tables of translations.

Fails when an id has two texts, a translation uses other fields than its message, a translation belongs to no message,
or an error, a printed line, a note or a problem of the data has a plain sentence instead of a message. Lists the
messages without a translation, without failing.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from danlu.config import keys
from danlu.console.parser import VERBS, build_parsers
from danlu.data.format_table import readable_formats
from danlu.detection.detector_table import DETECTORS
from danlu.doctor.findings.table import FINDINGS
from danlu.message import TRANSLATIONS, fields, table
from danlu.models.network_table import MODELS
from danlu.segmentation.segmenter_table import SEGMENTERS

# Entries with a description, which `danlu networks` and `danlu formats` list.
ENTRIES = {
    "network": MODELS,
    "detector": DETECTORS,
    "segmenter": SEGMENTERS,
    "format": {name.replace(" ", "-"): form for name, form in readable_formats().items()},
}
SOURCE = Path(__file__).resolve().parents[1] / "src" / "danlu"
DOCS = SOURCE.parents[1] / "docs"
SITE = SOURCE.parents[1] / "tools" / "docs_site"
EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
MAKERS = ("message", "translated", "Message")
# Functions that print a line, and Interrupted, whose text is printed -> position of the text among their arguments.
PRINTERS = {"print_line": 1, "print_and_log": 2, "say": 0, "Interrupted": 0}


def main() -> int:
    found, families = collected()
    errors = [f"{id}: two texts, {sorted(texts)}" for id, texts in found.items() if len(texts) > 1]
    for folder in sorted(path for path in TRANSLATIONS.iterdir() if path.is_dir()):
        errors += compared(folder.name, found, families)
    print_missing_titles()
    errors += [f"{place}: a plain sentence instead of a message" for place in plain_errors(SOURCE)]
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
    for kind, entries in ENTRIES.items():
        found |= {f"{kind}.{name}": {entry.description} for name, entry in entries.items()}
    families = {"doctor.recorded."}  # sentences of ledgers, of which old ones are known to the table alone
    for path in sorted([*SOURCE.rglob("*.py"), *EXPERIMENTS.glob("*.py")]):
        for call in calls(ast.parse(path.read_text(encoding="utf-8"))):
            id, text = call.args[:2]
            if isinstance(id, ast.JoinedStr) and isinstance(id.values[0], ast.Constant):
                families.add(str(id.values[0].value))
            elif isinstance(id, ast.Constant) and id.value:  # without an id there are no words
                texts = found.setdefault(str(id.value), set())
                if isinstance(text, ast.Constant):
                    texts.add(str(text.value))
    return found, tuple(sorted(families))


def print_missing_titles() -> None:
    """List the pages of docs/howto/ whose Chinese title or page is missing; the site shows them in English."""
    titles = (SITE / "zh.toml").read_text(encoding="utf-8")
    for page in sorted((DOCS / "howto").glob("*.md")):
        if page.stem != "index" and f'"howto.{page.stem}"' not in titles:
            print(f"  howto.{page.stem}: a title in {(SITE / 'zh.toml').name}")
        if not (DOCS / "zh" / "howto" / page.name).is_file():
            print(f"  docs/zh/howto/{page.name}")


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """All calls that make a message."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and len(node.args) >= 2:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in MAKERS:
                yield node


def plain_errors(source: Path) -> Iterator[str]:
    """Places (file:line) of errors and printed lines in English alone, also through a variable of their function."""
    for path in sorted(source.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = {
            t.id
            for n in tree.body
            if isinstance(n, ast.Assign)
            for t in n.targets
            if is_name(t) and is_sentence(n.value, set())
        }
        for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]:
            within = list(ast.walk(scope)) if scope is not tree else list(ast.iter_child_nodes(tree))
            assigned = [(t.id, n.value) for n in within if isinstance(n, ast.Assign) for t in n.targets if is_name(t)]
            plain = top - {name for name, _ in assigned} | {
                name for name, value in assigned if is_sentence(value, set())
            }
            for call in within:
                if isinstance(call, ast.Call) and any(is_sentence(one, plain) for one in sentences(call)):
                    yield f"{path.relative_to(source)}:{call.lineno}"


def is_name(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name)


def sentences(call: ast.Call) -> list[ast.expr]:
    """Arguments of a call that become sentences of an error or printed lines; none for other calls."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("Refusal", "Failure", "message", "translated"):
        return call.args[:1] if name[0].isupper() else [one.value for one in call.keywords]  # what fills its fields
    if name in PRINTERS:
        return call.args[PRINTERS[name] : PRINTERS[name] + 1]
    if name in ("Problem", "skip"):
        return call.args[1:2]
    if name == "append" and isinstance(call.func, ast.Attribute):
        place = call.func.value
        return call.args[:1] if "notes" in (getattr(place, "attr", ""), getattr(place, "id", "")) else []
    if name in ("refusal", "one_of"):
        first = call.args[1:3] if name == "refusal" else call.args[3:4]
        return [*first, *(one.value for one in call.keywords if one.arg in ("wanted", "what", "do"))]
    return []


def is_sentence(node: ast.AST, plain: set[str]) -> bool:
    """Whether an expression is text of several words; plain: variables that hold such text."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(re.search("[A-Za-z]{2,},? .*[A-Za-z]{2,}", node.value))
    if isinstance(node, ast.JoinedStr):
        return any(is_sentence(one, plain) or is_word(one) for one in node.values)
    if isinstance(node, ast.BinOp):
        return is_sentence(node.left, plain) or is_sentence(node.right, plain)
    if isinstance(node, ast.IfExp):
        return is_sentence(node.body, plain) or is_sentence(node.orelse, plain)
    return isinstance(node, ast.Name) and node.id in plain


def is_word(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and bool(re.search("[a-z]{2,} | [a-z]{2,}", str(node.value)))


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
