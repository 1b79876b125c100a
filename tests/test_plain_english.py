"""Banned words and docstring openings, in code, help and documents."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

from danlu.config.settings import FORMER as FORMER_SETTINGS
from danlu.doctor.finding import FORMER_EVIDENCE
from danlu.doctor.names import FORMER as FORMER_QUANTITIES

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "examples", "experiments", "benchmarks", "tests", "tools")
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "experiments/*.md", "packages/**/*.md")
    for page in ROOT.glob(pattern)
    if "zh-CN" not in page.name
)
CODE = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py") if file != Path(__file__))

# Pattern -> the term to use.
BANNED = {
    r"\bpictures?\b": "image (or figure, chart)",
    r"\bdrawn weights\b": "random initialisation",
    r"\bwhole numbers?\b": "integer",
    r"\bhow many\b": "number of",
    r"\bsurest\b": "top-scoring, most confident",
    r"\bguessing\b": "chance level",
    r"\bcures?\b": "fix",
    r"\bcured\b": "fixed",
    r"\b(?:a|no|the|one|each|without) (?:graphics )?card\b": "GPU",
    r"\bcards\b(?! of (?:the|a) (?:page|report))": "GPUs (or panels of a page)",
    r"\blearning rates? (?:share|part)\b": "learning rate fraction",
    r"\bshares? of\b|\b(?:a|the|its|their|same|larger?|smaller|equal|even) shares?\b": "fraction, ratio, percentage",
    r"(?<!danlu)_shares?\b|\bshares?_of_|\{shares?[:}]": "fraction, ratio, percentage (in names of fields and quantities)",
    r"\bso many\b(?! as)": "this number of",
    r"\b(?:trainer|caller|user|loop) (?:told|tells)\b": "passed, passes",
    r"\blooks? away\b": "skips",
    r"\bhears?\b": "receives, is called with",
    r"\bis told\b": "receives",
    r"\bare told\b": "receive",
    r"\bnobody\b": "no one (or rewrite)",
    r"\bthereof\b|\bwhereof\b|\bwherein\b|\btherein\b|\bhitherto\b|\bhenceforth\b|\blest\b": "plain words",
    r"\bof its own accord\b|\bat the doors?\b|\bits kin\b|\bin their place\b": "plain words",
    r"\ball that is\b|\ball of which\b|\bwhatever else\b": "plain words",
    r"\bis made of\b|\bare made of\b": "consists of",
    r"\bgives the\b": "returns the",
    r"\bwhat is no\b": "an invalid ..., a file that is no ...",
    r"\bfor ever\b": "forever",
    r"\blets? it be\b|\blooked away\b|\bat rest\b|\bof old\b|\bunto\b|\bwhence\b|\bwhither\b": "plain words",
}
FORMER_NAMES = re.compile("|".join(map(re.escape, FORMER_SETTINGS | FORMER_QUANTITIES)))  # which are still read
QUANTITY = re.compile(r"(?:^|[a-z]_)shares?$|^shares?_of_", re.IGNORECASE)  # names of a fraction
SHARE_VERB = ("share", "print_share")  # functions of `danlu share`
# Of columns and folders of the user, which the readers recognise, and in findings of earlier versions.
NAMES_IN_DATA = ("picture", "pictures", *FORMER_EVIDENCE)
OPENINGS = re.compile(r"^(?:What|How|Which|Where|Who|Whose|From|All that|Everything that|Of)\b")


def texts_of(file: Path) -> list[tuple[int, str]]:
    """(line, text) of every comment and string constant of a Python file."""
    source = file.read_text(encoding="utf-8")
    found = [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in NAMES_IN_DATA:
            found.append((node.lineno, node.value))
    return found


def banned_in(text: str) -> list[str]:
    """Banned phrases of a text, each with the term to use."""
    return [
        f"{match.group(0)!r}: use {better}"
        for pattern, better in BANNED.items()
        for match in re.finditer(pattern, FORMER_NAMES.sub("", text), re.IGNORECASE)
    ]


def fractions_in(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, name) of every variable, field, parameter, keyword and function that is named as a share."""
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                pass
            case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                pass
            case ast.FunctionDef(name=name) if name not in SHARE_VERB and not name.startswith("test_"):
                if (ast.get_docstring(node) or "").startswith("Former name"):
                    continue
            case _:
                continue
        if QUANTITY.search(name):
            found.append((node.lineno, name))
    return found


def faults(file: Path) -> list[str]:
    """Banned words of a Python file, and docstrings that open with a question word."""
    found = [f"{file.name}:{line} {word}" for line, text in texts_of(file) for word in banned_in(text)]
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found += [f"{file.name}:{line} {name!r}: use fraction, ratio, percentage" for line, name in fractions_in(tree)]
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, holders) and (doc := ast.get_docstring(node)) and OPENINGS.match(doc):
            found.append(f"{file.name}:{getattr(node, 'lineno', 1)} opens with {doc.splitlines()[0]!r}")
    return found


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("text", ["a share of it", "its larger share", "positive_share", "{share:%} of the units"])
def test_shares_are_fractions(text: str) -> None:
    assert banned_in(text)
    assert fractions_in(ast.parse("MIN_SHARE = 0.5"))
    assert fractions_in(ast.parse("message(share=1)"))


@pytest.mark.parametrize("text", ["`danlu share RUN`", "processes that share a batch", "shared weights", "sharex"])
def test_sharing_is_no_fraction(text: str) -> None:
    assert not banned_in(text)
    assert not fractions_in(ast.parse("plt.subplots(sharex=shared)"))


@pytest.mark.parametrize("file", CODE, ids=name_of)
def test_code_is_in_plain_english(file: Path) -> None:
    assert not (found := faults(file)), "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_documents_use_the_terms_of_the_field(page: Path) -> None:
    found = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        found += [f"{page.name}:{number} {word}" for word in banned_in(line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["predict", "--help"]], ids=" ".join)
def test_help_uses_the_terms_of_the_field(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "danlu", *words], capture_output=True, text=True, check=True)
    assert not banned_in(done.stdout)
