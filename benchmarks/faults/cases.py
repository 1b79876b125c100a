"""All cases of the benchmark in a fixed order: faults, pairs of faults and healthy runs.

A case has the correct codes (none for a healthy run) and a half; the halves differ in architecture, data and
seed. `build` makes its set-up.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from data import present
from faults import FAULTS, PAIRS
from healthy import ODD, VARIATIONS
from loop import Setup
from planting import Fault
from programs import PLANTED, PROGRAMS, Program
from setups import healthy_setups

HALVES = ("tuned", "untuned")
FIRST_SEED = {"tuned": 0, "untuned": 5000}
PICKS = 2  # set-ups for each strength of a fault
QUICK_HEALTHY = 3  # --quick takes every third of the healthy cases and of the pairs


@dataclass(frozen=True)
class Case:
    """One run.

    name: unique in its half; codes: planted; also: equally correct codes; twin: the set-up without the fault.
    """

    name: str
    half: str
    kind: str
    codes: tuple[str, ...]
    also: tuple[str, ...]
    proof: str
    twin: Setup | Program
    build: Callable[[], Setup | Program]


def cases(half: str = "all") -> list[Case]:
    """List the cases of one half or of both, without set-ups whose data are missing."""
    halves = HALVES if half == "all" else (half,)
    return [case for one in halves for case in (*faulty(one), *pairs(one), *healthy(one), *programs(one))]


def quick(found: list[Case]) -> list[Case]:
    """Select a fixed subset: the first case of each fault and strength, every third healthy run and pair."""
    faults = {case.name.partition(" / ")[0]: case for case in reversed(found) if case.kind == "fault"}
    others = [case for case in found if case.kind != "fault"]
    return [*reversed(faults.values()), *others[::QUICK_HEALTHY]]


def sample(found: list[Case], fraction: float, seed: int) -> list[Case]:
    """Select a random fraction of the faulty cases, of the pairs and of the healthy cases."""
    draw = random.Random(seed)
    kinds = [[case for case in found if case.kind == kind] for kind in ("fault", "pair", "healthy")]
    return [case for kind in kinds for case in draw.sample(kind, round(fraction * len(kind)))]


def faulty(half: str) -> list[Case]:
    found = []
    for fault in FAULTS.values():
        fitting = [one for one in healthy_setups(half) if fault.fits(one)]
        turn = zlib.crc32(fault.name.encode())  # names seed the choice of set-ups: keep them
        for number, (strength, value) in enumerate(fault.strengths.items()):
            for pick in range(min(PICKS, len(fitting))):
                place = turn + number * PICKS + pick
                base = fitting[place % len(fitting)].but(seed=FIRST_SEED[half] + place % 97)
                found.append(
                    Case(
                        f"{fault.name}{f' {strength}' if strength else ''} / {base.name}",
                        half,
                        "fault",
                        (fault.code,),
                        fault.also,
                        fault.proof,
                        base,
                        partial(fault.plant, base, value),
                    )
                )
    return found


def pairs(half: str) -> list[Case]:
    found = []
    for first, second in PAIRS:
        one, two = FAULTS[first[0]], FAULTS[second[0]]
        values = one.strengths[first[1]], two.strengths[second[1]]
        fitting = [base for base in healthy_setups(half) if one.fits(base) and two.fits(base)]
        for pick, setup in enumerate(fitting[:PICKS]):
            base = setup.but(seed=FIRST_SEED[half] + 100 + pick)
            name = f"{one.name} + {two.name} / {base.name}"
            build = partial(plant_both, one, two, values, base)
            found.append(Case(name, half, "pair", (one.code, two.code), one.also + two.also, "code", base, build))
    return found


def plant_both(one: Fault, two: Fault, values: tuple, base: Setup) -> Setup:
    return two.plant(one.plant(base, values[0]), values[1])


def healthy(half: str) -> list[Case]:
    found = []
    for place, base in enumerate(healthy_setups(half)):
        for number, (name, change) in enumerate(VARIATIONS.items()):
            for seed in range(2):
                run = change(base).but(seed=FIRST_SEED[half] + 200 + 10 * place + number + 1000 * seed)
                found.append(healthy_case(f"{name} / {base.name} / {seed}", half, run))
    for name, base in ODD.items():
        if base.half == half and present(base.data):
            for number in range(7):
                run = base.but(seed=FIRST_SEED[half] + 400 + zlib.crc32(name.encode()) % 50 + number)
                found.append(healthy_case(f"{name} / {number}", half, run))
    return found


def programs(half: str) -> list[Case]:
    """Programs of other kinds than one model with one loss: two healthy runs each, and their planted faults."""
    found = []
    for place, base in enumerate(one for one in PROGRAMS.values() if one.half == half):
        seed = FIRST_SEED[half] + 3000 + 10 * place
        found += [healthy_case(f"{base.name} / {number}", half, base.but(seed=seed + number)) for number in range(2)]
        for number, (fault, codes) in enumerate(
            (fault, codes) for (name, fault), codes in PLANTED.items() if name == base.name
        ):
            planted = base.but(fault=fault, seed=seed + 2 + number)
            proof, twin = "crash" if fault == "no ignore_index" else "code", planted.but(fault="")
            name = f"{base.name}: {fault} / program"
            found.append(Case(name, half, "fault", codes[:1], codes[1:], proof, twin, partial(planted.but)))
    return found


def healthy_case(name: str, half: str, setup: Setup | Program) -> Case:
    return Case(f"healthy: {name}", half, "healthy", (), (), "score", setup, lambda: setup)
