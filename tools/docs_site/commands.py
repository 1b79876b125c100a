"""Pages of the verbs of the command line, from their parsers."""

from __future__ import annotations

import argparse

from danlu.console.flags import FLAGS, Parser
from danlu.console.help_text import FIRST_SETTINGS
from danlu.console.parser import VERBS, build_parsers
from danlu.message import translated

from .markdown import fenced, link, prose, table, term
from .words import word

ALL_SETTINGS = "train"  # verb whose page lists every setting; the pages of other verbs refer to it


def pages() -> dict[str, str]:
    """Path in the site -> Markdown, in the current language."""
    parsers = build_parsers()[1]
    found = {f"cli/{name}.md": _page(name, parsers[name]) for name in VERBS}
    rows = [
        (link(f"`danlu {name}`", f"cli/{name}.md", "cli/index.md"), prose(_about(name, verb.text)))
        for name, verb in VERBS.items()
    ]
    head = word("cli.title", "Command line")
    intro = word(
        "cli.intro",
        "Flags, YAML files (`--config`) and Python use the same names. `danlu VERB --help` lists the flags to know "
        "first, `--help all` lists all. `--json` prints one JSON object. Wrong input gets one sentence with the "
        "nearest valid choice and exit code 2; a failed command ends with 1.",
    )
    columns = (word("cli.command", "command"), word("cli.effect", "effect"))
    return {"cli/index.md": f"# {head}\n\n{intro}\n\n{table(columns, rows)}"} | found


def _about(name: str, text: str) -> str:
    about = translated(f"help.verb.{name}", text)
    return about[:1].upper() + about[1:]


def _page(name: str, parser: Parser) -> str:
    verb = VERBS[name]
    flags = "" if "[FLAGS]" in verb.arguments else " [FLAGS]"
    parts = [
        f"# danlu {name}\n",
        prose(_about(name, verb.text)) + "\n",
        fenced(f"danlu {name} {verb.arguments}{flags}"),
    ]
    if verb.alias:
        parts.append(word("cli.alias", "Alias: `danlu {alias}`.", alias=verb.alias) + "\n")
    for group in parser._action_groups:
        actions = [one for one in group._group_actions if one.help != argparse.SUPPRESS]
        own = [one for one in actions if one.dest not in FLAGS or name == ALL_SETTINGS or not one.option_strings]
        first = [one for one in actions if one.dest in FIRST_SETTINGS and one not in own]
        rest = [one for one in actions if one not in own and one not in first]
        if not actions:
            continue
        parts.append(f"## {str(group.title).capitalize()}\n")
        parts += [_term(one, name) for one in [*own, *first]]
        if rest:
            names = ", ".join(
                link(f"`{one.option_strings[0]}`", f"cli/{ALL_SETTINGS}.md#{one.dest}", f"cli/{name}.md")
                for one in rest
            )
            parts.append(word("cli.also", "Also the settings of `danlu train`:") + f" {names}.\n")
    return "\n".join(parts)


def _term(action: argparse.Action, verb: str) -> str:
    """One flag or argument; settings of `danlu train` have their key as anchor."""
    value = "" if action.nargs == 0 else f" {action.metavar}" if isinstance(action.metavar, str) else ""
    names = [f"`{flag}{value}`" for flag in action.option_strings] or [f"`{action.metavar or action.dest}`"]
    text = (action.help or "").replace("%%", "%")
    anchor = action.dest if verb == ALL_SETTINGS and action.dest in FLAGS and action.option_strings else ""
    return term(", ".join(names), prose(text), anchor)
