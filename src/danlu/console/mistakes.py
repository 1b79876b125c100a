"""Confusion matrix and most confident mistakes of an evaluation on the terminal."""

from __future__ import annotations

from rich.console import Console

from danlu.inference.evaluation_result import EvaluationResult
from danlu.message import translated
from danlu.metrics.classification import expanded
from danlu.printing.lines import print_line
from danlu.printing.tables import plain_table, print_in_parts, print_with_names

MAX_CLASSES = 12  # of a confusion matrix that is printed whole; of more classes the most frequent pairs are printed
MAX_PAIRS = 10  # pairs of classes
MAX_FILES = 12  # samples listed; --json and the page have more


def print_mistakes(console: Console, result: EvaluationResult) -> None:
    """Print the confusion matrix of a classifier, and its most confident mistakes."""
    if not result.confusion or result.classes is None:
        return
    matrix, classes = expanded(result.confusion), result.classes
    true, predicted = translated("console.column.true", "true"), translated("console.column.predicted", "predicted")
    if len(classes) <= MAX_CLASSES:
        rows = [[name, *map(str, row)] for name, row in zip(classes, matrix)]
        print_in_parts(console, [f"{true} \\ {predicted}", *classes], rows, right=set(classes))
    else:
        pairs = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if n and i != j]
        samples = translated("console.column.samples", "samples")
        table = plain_table((true, predicted, samples), right=(samples,))
        for n, i, j in sorted(pairs, reverse=True)[:MAX_PAIRS]:
            table.add_row(classes[i], classes[j], str(n))
        if pairs:
            console.print(table)
    wrong = sum(map(sum, matrix)) - sum(row[i] for i, row in enumerate(matrix))
    if not wrong or not result.mistakes:
        print_line(
            console, translated("console.all_right", "all {samples:,} samples are right", samples=result.samples)
        )
        return
    listed = result.mistakes[:MAX_FILES]
    facts = {"wrong": wrong, "samples": result.samples, "count": len(listed)}
    if wrong > len(listed):
        text = "wrong predictions: {wrong:,} of {samples:,}, the {count} most confident:"
        print_line(console, translated("console.wrong_first", text, **facts))
    else:
        text = "wrong predictions: {wrong:,} of {samples:,}, most confident first:"
        print_line(console, translated("console.wrong", text, **facts))
    confidence = translated("console.column.confidence", "confidence")
    headings = (translated("console.column.sample", "sample"), true, predicted, confidence)
    cells = [(one["name"], one["true"], one["said"], f"{one['confidence']:.3f}") for one in listed]
    print_with_names(console, headings, cells, right=(confidence,))
