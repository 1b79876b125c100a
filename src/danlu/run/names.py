"""Names of metrics and splits as they are printed, in the current language."""

from __future__ import annotations

from danlu.message import Message, message, translated

EVALUATION_PAGE = "evaluation.html"  # in the run folder, written by `danlu evaluate`
FEATURES_FILE = "features.json"  # in the run folder, written by `danlu report --features`

SPLIT_TITLES = {
    "train": message("split.title.train", "Training"),
    "val": message("split.title.val", "Validation"),
    "test": message("split.title.test", "Test"),
}
SPLIT_WORDS = {
    "train": message("split.word.train", "training"),
    "val": message("split.word.val", "validation"),
    "test": message("split.word.test", "test"),
}


def metric_key(key: str) -> str:
    """A metric's key as progress lines print it; a translation where there is one ("accuracy")."""
    return str(metric_message(key))


def metric_message(key: str) -> Message:
    """The same as a message, to be a value of another one."""
    return message(f"metric.key.{key}", key)


def split_key(split: str) -> str:
    """A split's key as progress lines print it: "train", "val" or "test"."""
    return translated(f"split.key.{split}", split)
