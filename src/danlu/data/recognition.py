"""Recognition of the format of data from the evidence that each format gives for a listing of the files.

The format with the strongest evidence is read; no evidence, or a tie, is refused with a message that lists it.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import Survey, survey
from danlu.data.format_table import FORMATS, readable_formats
from danlu.data.sources import unread
from danlu.data.sources.folders.class_layout import class_layout
from danlu.message import Message, message
from danlu.refuse import Refusal, either, refusal


def recognise(path: Path) -> str | None:
    """Return the name of the format of `path`; None if it is unknown or ambiguous."""
    try:
        return choose_format(survey(path), None)[0]
    except Refusal:
        return None


def evidence_of(data: Survey, name: str) -> Evidence | None:
    """Look for the evidence for one format, once per survey."""
    key = f"evidence for {name}"
    if key not in data.memo:
        data.memo[key] = FORMATS[name].look(data)
    return data.memo[key]


def evidence_for(data: Survey) -> dict[str, Evidence]:
    """Collect the evidence for each format, strongest first."""
    names = [name for name, form in FORMATS.items() if not form.on_request or name in unread.FORMATS]
    found = {name: evidence_of(data, name) for name in names}
    kept = {name: evidence for name, evidence in found.items() if evidence is not None}
    return dict(sorted(kept.items(), key=lambda pair: -pair[1].fit))


def choose_format(data: Survey, wanted: str | None) -> tuple[str, list[Message], Message]:
    """Choose the format of `data`; returns its name, notes and the evidence. wanted: the user's --format.

    Raises Refusal if the format is unknown, ambiguous or not supported.
    """
    if wanted:
        return format_named(wanted), [], message("data.seen.named", "--format {format}", format=wanted)
    found = evidence_for(data)
    good = {name: one for name, one in found.items() if one.refuse is None}
    best = max((one.fit for one in found.values()), default=Fit.POSSIBLE)
    first = [name for name, one in good.items() if one.fit == best]
    if len(first) > 1:
        raise _ambiguous(data, {name: found[name] for name in first})
    if len(first) == 1:
        others = [name for name, one in good.items() if one.fit >= Fit.CONVERTED and name != first[0]]
        others = [] if data.is_file else others  # other ways to read the same file
        notes = [
            message("data.also_seen", "not read: {seen} ({name}); --format {flag} reads that instead",
                    seen=found[name].seen, name=name, flag=name.replace(" ", "-"))
            for name in others
        ]  # fmt: skip
        return first[0], notes, found[first[0]].seen
    if refused := {name: one for name, one in found.items() if one.refuse is not None and one.fit == best}:
        raise Refusal(f"{data.path}: " + "; ".join(dict.fromkeys(str(one.refuse) for one in refused.values())))
    raise _unknown(data)


def _ambiguous(data: Survey, found: dict[str, Evidence]) -> Refusal:
    seen = [message("data.seen.as", "as {name} ({seen})", name=name, seen=one.seen) for name, one in found.items()]
    flags = either([f"--format {name.replace(' ', '-')}" for name in found])
    return Refusal(
        message(
            "data.refuse.can_read_ways_choose",
            "{path} can be read in {found} ways: {seen}; choose one by {flags}",
            path=data.path,
            found=len(found),
            seen=seen,
            flags=flags,
        )
    )


def _unknown(data: Survey) -> Refusal:
    simplest = message("format.folder", readable_formats()["folder"].description)
    text = "most simply {description}; `danlu formats` lists all formats"
    do = message("data.do.most_simply", text, description=simplest)
    above = data.root.parent if not data.is_file else data.root
    if not data.is_file and data.images and above != data.root and len(os.listdir(above)) < 50:
        name = _recognise_small(above)
        if name:
            do = message(
                "data.do.data_format_use_instead",
                "{above} is data in the format {name}: use that instead; {do}",
                above=above,
                name=name,
                do=do,
            )
    return refusal(
        str(data.path), message("data.wanted.data_known_format", "data in a known format"), _what(data), do=do
    )


def _recognise_small(path: Path) -> str | None:
    """Recognise the format of the parent folder; None if it has too many entries or is unreadable."""
    try:
        if path.parent == path or sum(1 for _ in path.iterdir()) >= 50:
            return None
        name = recognise(path)
        return None if name == "folder" and len(class_layout(survey(path)).classes) < 2 else name
    except (OSError, Refusal):
        return None


def _what(data: Survey) -> Message:
    """Describe the files of a folder whose format is unknown."""
    if data.is_file:
        size = data.path.stat().st_size
        if not size:
            return message("data.got.empty_file", "an empty file")
        if not data.path.suffix:
            return message("data.got.file_without_ending", "a file of {size:,} bytes without an ending", size=size)
        text = "a file of {size:,} bytes ending in {suffix}"
        return message("data.got.file_of", text, size=size, suffix=data.path.suffix)
    if not data.files and not data.folders:
        return message("data.got.empty_folder", "an empty folder")
    kinds = Counter(file.suffix for file in data.files)
    listed = [_files(count, suffix) for suffix, count in kinds.most_common(4)]
    if count := len(data.folders):
        listed.append(message("data.got.folders", "{count:,} {count:folder|folders}", count=count))
    return message("data.got.folder_of", "a folder of {listed}", listed=listed)


def _files(count: int, suffix: str) -> Message:
    if not suffix:
        return message("data.got.unnamed_files", "{count:,} without an ending", count=count)
    return message("data.got.files", "{count:,} {suffix} {count:file|files}", count=count, suffix=suffix)


def format_named(name: str) -> str:
    """The format that --format names, whatever its spelling. Raises Refusal for an unknown one."""
    plain = " ".join(name.lower().replace("-", " ").replace("_", " ").split())
    if plain not in readable_formats():
        known = [one.replace(" ", "-") for one in readable_formats()]
        raise refusal(
            "--format",
            message("data.wanted.known_format_danlu_formats", "a known format (`danlu formats` lists them)"),
            name,
            near=known,
        )
    return plain
