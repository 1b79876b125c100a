"""Errors of pydantic as refusals: one sentence with the setting, the expected value and the nearest choice."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from danlu.config.settings import keys
from danlu.refuse import Refusal, refusal


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
    wanted = " or ".join(dict.fromkeys(_wanted(p) for p in mine))
    got = problems[0]["input"]
    thing = f"{key} in {where}" if where else key
    choices = [
        c.strip(" '")
        for p in mine
        if p["type"] == "literal_error"
        for c in p.get("ctx", {})["expected"].replace(" or ", ",").split(",")
    ]
    return refusal(thing, wanted, got, near=choices)


def _wanted(problem: Any) -> str:  # noqa: PLR0911 (one line per kind of problem)
    """The value that pydantic expected, in words."""
    ctx = problem.get("ctx", {})
    match problem["type"]:
        case "greater_than":
            return f"greater than {_number(ctx['gt'])}"
        case "greater_than_equal":
            return f"at least {_number(ctx['ge'])}"
        case "less_than":
            return f"less than {_number(ctx['lt'])}"
        case "less_than_equal":
            return f"at most {_number(ctx['le'])}"
        case "int_parsing" | "int_type" | "int_from_float":
            return "an integer"
        case "float_parsing" | "float_type":
            return "a number"
        case "finite_number":
            return "a finite number"
        case "bool_parsing" | "bool_type":
            return "true or false"
        case "string_type":
            return "text"
        case "string_too_short":
            return "text that is not empty"
        case "literal_error":
            return "one of " + ctx["expected"].replace("'", "").replace(" or ", ", ")
        case "value_error":
            return str(ctx["error"])
        case "too_short" | "too_long":
            return f"{ctx.get('min_length', ctx.get('max_length'))} values"
        case _:
            return problem["msg"][0].lower() + problem["msg"][1:]


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
