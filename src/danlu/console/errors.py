"""Errors of a command as one line on standard error, and their exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from danlu.message import message, printable, shortened_words
from danlu.refuse import Failure, Refusal
from danlu.run.bug_report import keep_report


def print_error(error: Refusal | Failure, cause: Exception) -> int:
    """Print an error as one line, after the traceback of its cause if DANLU_DEBUG is set; return the exit code."""
    if os.environ.get("DANLU_DEBUG"):
        traceback.print_exception(cause)
    print(f"danlu: {printable(shortened_words(' '.join(str(error).split())))}", file=sys.stderr)
    return 2 if isinstance(error, Refusal) else 1


def unexpected(error: Exception, argv: Sequence[str]) -> Failure:
    """Convert an unexpected exception (out of memory, failed compilation, a bug in danlu) to a `Failure`.

    The report of a bug is kept in a file, which the sentence names. argv: words of the command line.
    """
    text = " ".join(str(error).split())[:200]
    out_of_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if out_of_memory or "can't allocate memory" in text:
        return Failure(
            message(
                "console.refuse.out_memory_lower_batch",
                "out of memory; lower --batch-size or --size, or use --data.memory false",
            )
        )
    kind = type(error).__name__
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return Failure(
            message(
                "console.refuse.torch_compile_failed_train",
                "torch.compile failed ({kind}: {text}); train without --compile, or see DANLU_DEBUG=1",
                kind=kind,
                text=text,
            )
        )
    kept = keep_report(error, argv)
    place = message("console.report_with_traceback", "with its traceback (DANLU_DEBUG=1)")
    if kept:
        place = message("console.report_with_log", "with the end of {path}", path=kept)
    return Failure(
        message(
            "console.refuse.internal_error_please_report",
            "internal error: {kind}: {text}; please report it {place}",
            kind=kind,
            text=text,
            place=place,
        )
    )
