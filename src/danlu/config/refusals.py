"""Errors of pydantic as refusals: one sentence with the setting, the expected value and the nearest choice."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from danlu.config.settings import keys
from danlu.message import Message, message
from danlu.refuse import Refusal, either, refusal

DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


def sentence(error: ValidationError, where: str) -> Refusal:
    """The first problem that pydantic reports, as one sentence in danlu's form of refusals."""
    problems = error.errors(include_url=False)
    # pydantic reports every member of a union with its name after the key: cut the place back to a known key.
    place = [str(p) for p in problems[0]["loc"]]
    while place and ".".join(place) not in keys():
        place.pop()
    key = ".".join(place)
    mine = [p for p in problems if ".".join(map(str, p["loc"])).startswith(key)]
    # Names that stand for objects of the user are not typed.
    mine = [p for p in mine if p["type"] != "string_pattern_mismatch"] or mine
    wanted = either(list(dict.fromkeys(_wanted(p) for p in mine)))
    got = problems[0]["input"]
    thing = f"{key} in {where}" if where else key
    choices = [
        c.strip(" '")
        for p in mine
        if p["type"] == "literal_error"
        for c in p.get("ctx", {})["expected"].replace(" or ", ",").split(",")
    ]
    choices += [got.replace(",", ".")] if isinstance(got, str) and DECIMAL_COMMA.fullmatch(got) else []
    return refusal(thing, wanted, got, near=choices)


def _wanted(problem: Any) -> Message:  # noqa: PLR0911 (one line per kind of problem)
    """The value that pydantic expected, in words."""
    ctx = problem.get("ctx", {})
    match problem["type"]:
        case "greater_than":
            return message("config.wanted.above", "greater than {bound}", bound=_number(ctx["gt"]))
        case "greater_than_equal":
            return message("config.wanted.at_least", "at least {bound}", bound=_number(ctx["ge"]))
        case "less_than":
            return message("config.wanted.below", "less than {bound}", bound=_number(ctx["lt"]))
        case "less_than_equal":
            return message("config.wanted.at_most", "at most {bound}", bound=_number(ctx["le"]))
        case "int_parsing" | "int_parsing_size" | "int_type" | "int_from_float":
            return message("config.wanted.integer", "an integer")
        case "float_parsing" | "float_type":
            return message("config.wanted.number", "a number")
        case "finite_number":
            return message("config.wanted.finite", "a finite number")
        case "bool_parsing" | "bool_type":
            return message("config.wanted.switch", "true or false")
        case "string_type":
            return message("config.wanted.text", "text")
        case "string_too_short":
            return message("config.wanted.not_empty", "text that is not empty")
        case "literal_error":
            listed = ctx["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            if len(listed) == 1:
                return message("config.wanted.word", "{word}", word=listed[0])
            return message("config.wanted.one_of", "one of {listed}", listed=listed)
        case "value_error":
            return message("config.wanted.own", "{error}", error=ctx["error"].args[0])
        case "too_short" | "too_long":
            count = ctx.get("min_length", ctx.get("max_length"))
            return message("config.wanted.values", "{count} {count:value|values}", count=count)
        case _:
            text = problem["msg"]
            return message("config.wanted.pydantic", "{text}", text=text[0].lower() + text[1:])


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
