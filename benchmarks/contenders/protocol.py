"""Line protocol between speed.py and its contenders, so that many contenders stay warm side by side.

A contender is a generator. Its first value is a dictionary of settings, yielded when it is ready; each further value is
the measurement of one round. A line on standard input requests the next value, which is returned as a line of JSON.
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
    os.dup2(2, 1)  # output of libraries goes to standard error
    values = contender(json.loads(sys.argv[1]))
    print(json.dumps(next(values)), file=answer)
    for _ in sys.stdin:
        print(json.dumps(next(values)), file=answer)


def leave_out(doctor: Any, since: float) -> None:
    """Exclude the time this process was stopped since `since` from the doctor's time budget."""
    if doctor is not None:
        doctor._watched.budget._started += time.perf_counter() - since
