"""The page of the service: drop an image, see its prediction drawn."""

from __future__ import annotations

import json
from pathlib import Path

from danlu.message import language, translated
from danlu.report.document import asset
from danlu.report.markup import escape

FILE = Path(__file__).with_name("page.html")


def page() -> str:
    """The page as HTML, in the current language."""
    words = {
        "drop": translated("serving.page.drop", "Drop images here, or click to choose"),
        "api": translated("serving.page.api", "API"),
        "metrics": translated("serving.page.metrics", "metrics"),
        "object": translated("serving.page.object", "1 object"),
        "objects": translated("serving.page.objects", "N objects"),
        "none": translated("serving.page.no_object", "no object"),
        "unlabelled": translated("serving.page.no_label", "no label"),
        "hidden": translated("serving.page.hidden", "This browser cannot show the image."),
        "lost": translated("serving.page.lost", "The service does not answer."),
        "unlike": translated("serving.page.unlike", "unlike the training images: the prediction may be wrong"),
    }
    values = {"language": language(), "words": json.dumps(words)} | {k: words[k] for k in ("drop", "api", "metrics")}
    text = FILE.read_text(encoding="utf-8").replace("/* page.css */", asset("page.css"))
    for name, value in values.items():
        text = text.replace(f"@{name}@", escape(value))
    return text
