"""Pages of the public names of `danlu`, from their signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import danlu
from danlu.config import SHORT, keys
from danlu.console.flags import setting_text
from danlu.data.dataset import Dataset
from danlu.doctor.finding import Finding
from danlu.doctor.watch import PUBLIC as DOCTOR_PUBLIC
from danlu.doctor.watch import Doctor
from danlu.inference.loaded_run import PUBLIC as RUN_PUBLIC
from danlu.inference.loaded_run import LoadedRun
from danlu.inference.prediction import Prediction

from .markdown import fenced, link, prose, table, term
from .words import word

OBJECTS: dict[str, tuple[type, tuple[str, ...]]] = {
    "LoadedRun": (LoadedRun, tuple(RUN_PUBLIC)),
    "Doctor": (Doctor, tuple(DOCTOR_PUBLIC)),
    "Finding": (Finding, ()),
    "Prediction": (Prediction, ()),
    "Dataset": (Dataset, ()),
}
SECTIONS = ("Args", "Returns", "Raises", "Yields", "Example", "Examples", "Note")
SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):$", re.MULTILINE)
ARGUMENT = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \(([^)]*)\))?: (.*)$", re.DOTALL)


def names() -> list[str]:
    """Public names that have a page, as in `danlu.NAME`."""
    return list(danlu._PUBLIC)


def pages(head: str) -> dict[str, str]:
    """Path in the site -> Markdown, in the current language. head: the hand-written page on the Python API."""
    found = {f"python/{name}.md": _page(name, public(name)) for name in names() if public(name) is not None}
    found |= {f"python/{name}.md": _page(name, kind, members) for name, (kind, members) in OBJECTS.items()}
    rows = [
        (link(f"`{label}`", path, "python/index.md"), prose(_first(thing)))
        for path, label, thing in (
            *((f"python/{n}.md", f"danlu.{n}", public(n)) for n in names() if public(n) is not None),
            *((f"python/{n}.md", n, kind) for n, (kind, _) in OBJECTS.items()),
        )
    ]
    columns = (word("networks.name", "name"), word("entries.about", "description"))
    reference = f"## {word('python.names', 'Public names')}\n\n{table(columns, rows)}"
    settings = link(word("python.settings", "All settings"), "python/settings.md", "python/index.md")
    found["python/index.md"] = f"{head.strip()}\n\n{reference}\n{settings}.\n"
    return found | {"python/settings.md": _settings()}


def documented() -> list[str]:
    """Names that have a page: those that can be imported here, and the classes that functions return."""
    return [*(name for name in names() if public(name) is not None), *OBJECTS]


def public(name: str) -> Any:
    """The object `danlu.NAME`; None for an adapter of a library that is not installed."""
    try:
        return getattr(danlu, name)
    except (ImportError, danlu.Refusal, danlu.Failure):
        return None


def _first(thing: Any) -> str:
    return " ".join(inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].split())


def _page(name: str, thing: Any, members: tuple[str, ...] = ()) -> str:
    title = f"danlu.{name}" if name in danlu._PUBLIC else name
    parts = [f"# {title}\n"]
    if inspect.isfunction(thing):
        parts.append(fenced(f"{title}{signature(thing)}", "python"))
    elif dataclasses.is_dataclass(thing):
        parts.append(", ".join(f"`{one.name}`" for one in dataclasses.fields(thing)) + "\n")
    parts.append(docstring(thing.__doc__ or ""))
    chosen = members or (
        () if dataclasses.is_dataclass(thing) else tuple(_own(thing)) if inspect.isclass(thing) else ()
    )
    for member in chosen:
        found = inspect.getattr_static(thing, member, None)
        found = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
        call = signature(found) if inspect.isfunction(found) and not _is_property(thing, member) else ""
        parts.append(f"## {name}.{member}\n")
        parts += [fenced(f"{member}{call}", "python")] if call else []
        parts.append(docstring(getattr(found, "__doc__", None) or ""))
    return "\n".join(parts)


def _own(kind: type) -> list[str]:
    return [
        n
        for n, value in vars(kind).items()
        if not n.startswith("_") and (callable(value) or isinstance(value, property))
    ]


def _is_property(kind: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(kind, name, None), property)


def signature(function: Any) -> str:
    """Signature with one parameter per line where it is long, types as they are written."""
    found = list(inspect.signature(function).parameters.values())
    parts: list[str] = []
    for parameter in found:
        if parameter.name == "self":
            continue
        before = parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts
        if before and not any(p.kind is p.VAR_POSITIONAL for p in found):
            parts.append("*")
        parts.append(re.sub(r": '([^']*)'", r": \1", str(parameter)))
    one_line = f"({', '.join(parts)})"
    return one_line if len(one_line) < 70 else "(\n    " + ",\n    ".join(parts) + ",\n)"


def docstring(text: str) -> str:
    """A docstring as Markdown: sections of arguments become lists of terms, examples become code."""
    pieces = SECTION.split(inspect.cleandoc(text))
    parts = [_paragraphs(pieces[0])]
    for title, body in zip(pieces[1::2], pieces[2::2]):
        parts.append(f"**{word(f'python.{title.lower()}', title)}**\n")
        items = [ARGUMENT.match(item) for item in _items(inspect.cleandoc("\n" + body))]
        if title in ("Args", "Raises") and all(items):
            for match in items:
                assert match is not None
                parts.append(term(f"`{match[1]}`", prose(" ".join(match[3].split()))))
        else:
            parts.append(_paragraphs(inspect.cleandoc("\n" + body)))
    return "\n".join(parts)


def _items(body: str) -> Iterator[str]:
    """Entries of a section: a line that is not indented, and the indented lines after it."""
    entry: list[str] = []
    for line in body.splitlines():
        if line.strip() and not line.startswith(" ") and entry:
            yield "\n".join(entry)
            entry = []
        if line.strip():
            entry.append(line)
    if entry:
        yield "\n".join(entry)


def _paragraphs(text: str) -> str:
    """Paragraphs of text; a paragraph that begins with >>> or is indented is code."""
    parts = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if block.lstrip().startswith(">>>"):
            parts.append(fenced(inspect.cleandoc("\n" + block), "pycon"))
        elif block.startswith("    "):
            parts.append(fenced(inspect.cleandoc("\n" + block), "python"))
        elif block.strip():
            parts.append(prose(block) + "\n")
    return "\n".join(parts)


def _settings() -> str:
    """All settings with their defaults, by section."""
    short = {key: name for name, key in SHORT.items()}
    head = word(
        "python.settings_intro", "Every setting by its dotted name and its short one; without a default, danlu chooses."
    )
    parts, section = [f"# {word('python.settings_title', 'Settings')}\n", head + "\n"], None
    for key, setting in keys().items():
        if (found := key.partition(".")[0] if "." in key else "run") != section:
            section = found
            parts.append(f"## {section}\n")
        name = f"`{key}`" + (f", `{short[key]}`" if key in short else "")
        default = "" if setting.default is None else f" ({word('python.default', 'default')}: `{setting.default}`)"
        parts.append(term(name, prose(str(setting_text(key))) + default, f"{key}-setting"))
    return "\n".join(parts)
