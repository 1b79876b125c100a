"""Write the pages of docs/ and the list of names that are made from the code: python tools/pages.py."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from danlu.data import format_document
from danlu.detection.detector_table import DETECTORS
from danlu.doctor.presentation import document
from danlu.models.network_table import MODELS
from danlu.segmentation.segmenter_table import SEGMENTERS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
NAMES = ROOT / "src" / "danlu" / "console" / "model_names.txt"


def pages() -> dict[str, str]:
    """File in docs/ -> its content."""
    python_page = runpy.run_path(str(Path(__file__).with_name("python_page.py")))
    return {
        "findings.md": document.document(),
        "formats.md": format_document.document(),
        "python.md": python_page["page"](),
    }


def model_names() -> str:
    """All names for --model, one a line: `danlu.console` refuses others before torch is imported."""
    return "".join(f"{name}\n" for name in sorted({*MODELS, *DETECTORS, *SEGMENTERS}))


if __name__ == "__main__":
    NAMES.write_text(model_names(), encoding="utf-8")
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(DOCS / name, file=sys.stderr)
