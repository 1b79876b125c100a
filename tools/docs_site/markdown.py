"""Pieces of Markdown: tables, code, terms with their descriptions, links between pages."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`[^`]*`)")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; `|` in cells is escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(one) for one in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(text: object) -> str:
    """Text of one cell of a table."""
    return str(text).replace("\n", " ").replace("|", "&#124;")


def fenced(code: str, kind: str = "text") -> str:
    """A block of code."""
    return f"```{kind}\n{code.rstrip()}\n```\n"


def term(name: str, text: str, anchor: str = "") -> str:
    """A name with its description below it; anchor: id for links."""
    mark = f'<span id="{anchor}"></span>' if anchor else ""
    indented = text.strip().replace("\n", "\n    ") or "-"
    return f"{mark}{name}\n:   {indented}\n"


def prose(text: str) -> str:
    """Text of a docstring or help line as Markdown: only code in backticks is markup."""
    pieces = CODE.split(text)
    return "".join(piece if piece.startswith("`") and piece.endswith("`") else _plain(piece) for piece in pieces)


def _plain(text: str) -> str:
    return re.sub(r"([*\[\]_#])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))


def relinked(text: str, source: str, target: str, site: Mapping[str, str], root: Path) -> str:
    """Rewrite the links of a page of the repository for its place in the site.

    source: path of the page in the repository. target: path of the page in the site. site: path in the repository ->
    path in the site, for pages and images. root: folder of the repository. A link to any other file of it becomes its
    text; a link to another file, such as a generated page, stays.
    """
    here, there = posixpath.dirname(source), posixpath.dirname(target)

    def rewritten(match: re.Match[str]) -> str:
        image, label, link = match.groups()
        path, mark, anchor = link.partition("#")
        if "://" in link or not path:
            return match.group(0)
        file = posixpath.normpath(posixpath.join(here, path))
        if file not in site and not (root / file).exists():
            return match.group(0)
        if file not in site:
            return label if label.startswith("`") else f"`{file}`" if label == posixpath.basename(file) else label
        return f"{image}[{label}]({posixpath.relpath(site[file], there)}{mark}{anchor})"

    pieces = FENCE.split(text)
    return "".join(piece if piece.startswith("```") else LINK.sub(rewritten, piece) for piece in pieces)


def link(label: str, target: str, page: str) -> str:
    """A link from the page `page` of the site to the page `target`, which may end with #anchor."""
    path, mark, anchor = target.partition("#")
    return f"[{label}]({posixpath.relpath(path, posixpath.dirname(page))}{mark}{anchor})"


def slug(name: str) -> str:
    """Name of the file of an entry: `timm/NAME` has a slash, which is none of a folder."""
    return name.replace("/", "-").replace(" ", "-")


def write(folder: Path, pages: Mapping[str, str]) -> None:
    """Write pages below a folder."""
    for path, text in pages.items():
        file = folder / path
        os.makedirs(file.parent, exist_ok=True)
        file.write_text(text, encoding="utf-8")
