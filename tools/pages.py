"""Write the pages of docs/ that are made from the code: python tools/pages.py."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from danlu.data import format_document
from danlu.doctor import document

DOCS = Path(__file__).resolve().parents[1] / "docs"


def pages() -> dict[str, str]:
    """File in docs/ -> its content."""
    python_page = runpy.run_path(str(Path(__file__).with_name("python_page.py")))
    return {
        "findings.md": document.document(),
        "formats.md": format_document.document(),
        "python.md": python_page["page"](),
    }


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(DOCS / name, file=sys.stderr)
