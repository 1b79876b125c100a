"""Terminal output of `danlu export` and `danlu share`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from danlu.message import message
from danlu.printing.lines import print_line
from danlu.run.names import metric_key, split_key


def print_export(console: Console, done: Mapping[str, Any]) -> None:
    """Print the file, and what the comparison with the network gave."""
    script = done.get("script")
    facts = {"file": done["file"], "format": done["format"], "size": _size(done["bytes"])}
    if done["batch"] == "any":
        text = "{file}: {format}, {size}, any number of images per call"
        print_line(console, message("printing.export_any", text, **facts))
    else:
        text = "{file}: {format}, {size}, images per call: {batch}"
        print_line(console, message("printing.export_file", text, **facts, batch=done["batch"]))
    if done["metric_before"] is not None:
        text = "{metric} {before} before, {after} after, on {images} {images:image|images} ({split})"
        before, after = (f"{done[key]:.4f}" for key in ("metric_before", "metric_after"))
        values = {
            "metric": metric_key(done["metric"]),
            "images": done["metric_images"],
            "split": split_key(done["split"]),
        }
        print_line(console, message("printing.export_metric", text, before=before, after=after, **values))
    text = "largest difference of the outputs {difference} on {images} {images:image|images}"
    difference = f"{done['max_difference']:.2g}"
    print_line(
        console,
        message("printing.export_difference", text, difference=difference, images=done["images_compared"]),
    )
    text = "{before} ms per image in torch, {after} ms in the file"
    before, after = (f"{done[key]:.2f}" for key in ("ms_before", "ms_after"))
    print_line(console, message("printing.export_time", text, before=before, after=after))
    if script:
        text = "{script}: predicts with numpy, Pillow and onnxruntime alone"
        print_line(console, message("printing.export_script", text, script=script))
    if done.get("note"):
        print_line(console, message("printing.note", "note: {note}", note=done["note"]))


def print_share(console: Console, done: Mapping[str, Any]) -> None:
    """Print the file, and how it is used."""
    text = "{file}: {size}; `danlu predict {file} IMAGE` uses it as it is"
    print_line(console, message("printing.share_file", text, file=done["file"], size=_size(done["bytes"])))


def _size(count: int) -> str:
    """Bytes as kB or MB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
