"""How speed.py and a contender talk: one line in, one line out, so that many contenders stay warm side by side.

A contender is a generator. Its first value is a dictionary of facts ("it has prepared"); each further one is what one
round of work measured. It is asked for the next value by a line on standard input and answers with a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Job = dict[str, Any]  # what to do, as JSON in the first argument: see speed.py
Answers = Iterator[dict[str, Any]]


def serve(contender: Callable[[Job], Answers]) -> None:
    """Run a contender until standard input ends."""
    answer = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    values = contender(json.loads(sys.argv[1]))
    print(json.dumps(next(values)), file=answer)
    for _ in sys.stdin:
        print(json.dumps(next(values)), file=answer)


def leave_out(doctor: Any, since: float) -> None:
    """While others were in turn this process stood still: that is no time of which the doctor may use a share."""
    if doctor is not None:
        doctor._patient.budget._begun += time.perf_counter() - since
