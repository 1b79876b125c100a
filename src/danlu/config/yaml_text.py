"""YAML: parsed within bounds (small text, few levels, few values after its aliases are expanded), and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.parser import Parser

from danlu.message import UNPRINTABLE

MAX_BYTES = 1 << 20  # a description of data or settings has a few kilobytes; PyYAML reads about 200 kB per second
MAX_LEVELS = 64  # of lists and mappings inside one another
MAX_VALUES = 200_000  # in a file; each alias counts as a copy of the values it repeats


class YamlTooLarge(ValueError):
    """YAML text beyond the bounds of this module."""


def read_yaml(path: str | Path) -> Any:
    """Parse a YAML file in UTF-8, of which no more than the bound is read.

    Raises OSError, UnicodeDecodeError, and the errors of `parse_yaml`.
    """
    with Path(path).open("rb") as file:
        return parse_yaml(file.read(MAX_BYTES + 1).decode("utf-8"))


def parse_yaml(text: str, loader: Any = yaml.SafeLoader, max_bytes: int = MAX_BYTES, values: int = MAX_VALUES) -> Any:
    """Parse the text of a YAML file.

    loader: a safe loader of PyYAML. max_bytes, values: bounds on the text and on its values with aliases expanded.
    Raises YamlTooLarge beyond the bounds, and yaml.YAMLError for wrong syntax.
    """
    if len(text) > max_bytes:
        raise YamlTooLarge(f"it has more than {max_bytes >> 20} MiB, too much for settings or a description of data")
    _check_brackets(text)
    if _uses_libyaml(loader):
        _check_levels(text, loader)
    parser = loader(text)
    try:
        root = parser.get_single_node()
        if root is None:
            return None
        _count_values(root, {}, 0, values)
        return parser.construct_document(root)
    except RecursionError:
        raise YamlTooLarge(_too_deep()) from None
    finally:
        parser.dispose()


class _Writer(yaml.SafeDumper):
    """Writes text with characters that are not printable in quotes: outside of them U+0085 would be a line end."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style='"' if UNPRINTABLE.search(text) else None)


_Writer.add_representer(str, _Writer.represent_text)


def to_yaml(tree: Any) -> str:
    """Text of plain values that `parse_yaml` reads back, with mappings in their order."""
    return yaml.dump(tree, Dumper=_Writer, sort_keys=False, allow_unicode=True)


def _check_brackets(text: str) -> None:
    """Count open brackets before PyYAML does, whose time is quadratic in them."""
    depth = 0
    for character in text:
        if character in "[{":
            depth += 1
            if depth > MAX_LEVELS:
                raise YamlTooLarge(_too_deep())
        elif character in "]}":
            depth = max(0, depth - 1)


def _uses_libyaml(loader: type) -> bool:
    return not issubclass(loader, Parser)


def _check_levels(text: str, loader: Any) -> None:
    """Count levels before libyaml, whose recursion in C ends the process, makes nodes of them."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_LEVELS:
            raise YamlTooLarge(_too_deep())


def _count_values(node: yaml.Node, sizes: dict[int, int | None], level: int, most: int) -> int:
    """Number of values below a node with its aliases expanded, which may be at most `most`."""
    if level > MAX_LEVELS:
        raise YamlTooLarge(_too_deep())
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            raise YamlTooLarge("an alias in it contains itself")
        return known
    sizes[id(node)] = None
    children = [child for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,))]
    size = 1
    for child in children:
        size += _count_values(child, sizes, level + 1, most)
        if size > most:
            raise YamlTooLarge(f"its aliases (&name, *name) expand to more than {most:,} values")
    sizes[id(node)] = size
    return size


def _too_deep() -> str:
    return f"lists or mappings are nested more than {MAX_LEVELS} levels deep"
