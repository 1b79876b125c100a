"""Counters of a service, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds, of the histogram


class Queue(Protocol):
    """Numbers of a `Batcher` that are reported."""

    batches: int
    items: int

    @property
    def waiting(self) -> int:
        """Number of requests that wait."""
        ...


class Counters:
    """Requests by status, and a histogram of their time."""

    def __init__(self) -> None:
        self.by_status: Counter[int] = Counter()
        self.seconds = 0.0
        self.within = [0] * len(BOUNDS)

    def count(self, status: int, seconds: float) -> None:
        """Count one request."""
        self.by_status[status] += 1
        self.seconds += seconds
        for i, bound in enumerate(BOUNDS):
            self.within[i] += seconds <= bound

    def text(self, queue: Queue) -> str:
        """All counters."""
        lines = ["# TYPE danlu_requests_total counter"]
        lines += [f'danlu_requests_total{{status="{s}"}} {n}' for s, n in sorted(self.by_status.items())]
        lines.append("# TYPE danlu_request_seconds histogram")
        lines += [f'danlu_request_seconds_bucket{{le="{b:g}"}} {n}' for b, n in zip(BOUNDS, self.within)]
        total = self.by_status.total()
        lines += [f'danlu_request_seconds_bucket{{le="+Inf"}} {total}', f"danlu_request_seconds_count {total}"]
        lines.append(f"danlu_request_seconds_sum {self.seconds:.6f}")
        for name, kind, value in (
            ("images_total", "counter", queue.items),
            ("batches_total", "counter", queue.batches),
            ("images_waiting", "gauge", queue.waiting),
        ):
            lines += [f"# TYPE danlu_{name} {kind}", f"danlu_{name} {value}"]
        return "\n".join(lines) + "\n"
