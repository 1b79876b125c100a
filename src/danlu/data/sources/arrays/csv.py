"""Tables with one header line, separated by comma, semicolon or tab, plain or .gz; one column is the target."""

from __future__ import annotations

import csv
import io
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.config import DataConfig
from danlu.data.dataset import Dataset, Problem
from danlu.data.evidence import Evidence, Fit
from danlu.data.files.survey import Survey
from danlu.data.files.text_files import decode_guessed, guessed_note, read_bytes
from danlu.data.files.unpacking import gunzip
from danlu.data.sources.tables.column_remarks import remarked
from danlu.data.sources.tables.targets import Task, decide, to_classes, to_numbers
from danlu.data.sources.tables.text_tables import MAX_LOOKED, lacks_names, table_text
from danlu.message import message
from danlu.refuse import Refusal, refusal
from danlu.task_spec import targets_of

if TYPE_CHECKING:
    import pandas

TARGET_COLUMNS = ("target", "label", "class", "y")
ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
MISSING = frozenset(("nan", "na", "n/a", "null", "none", "#n/a", "-", "?"))  # texts that mean a missing number
UNNAMED = "data.note.table_without_names"  # id of a note
VALUE = re.compile(r"-?\d+(\.\d+)?")
CODE = re.compile(r"[+-]?0\d+")  # numbers with leading zeros
FRACTION = re.compile(r"[.eE]")  # in the text of a number that need not be an integer
GROUPED = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?")  # a number, perhaps with commas between thousands
COMMA_DECIMAL = re.compile(r"(?:^|;)[ \t]*-?\d+,\d+[ \t]*(?=;|$)", re.MULTILINE)


def look(survey: Survey) -> Evidence | None:
    """Recognise a csv file, or a folder with exactly one at its top."""
    files = [file for file in survey.files if file.name.lower().endswith(ENDINGS)]
    if survey.is_file and files:
        return Evidence(Fit.CONVERTED, message("data.seen.csv_file", "a table"))
    top = [file for file in files if not file.folder]
    if len(top) != 1:
        return None
    seen = message("data.seen.csv", "the table {file}", file=top[0].name)
    return Evidence(Fit.POSSIBLE if survey.images else Fit.CONVERTED, seen)


def open(path: Path | Survey, config: DataConfig, task: Task | None = None) -> Dataset:
    """Read the input columns as a DataFrame, not yet encoded, and the target column; skip rows without target."""
    path = path.path if isinstance(path, Survey) else path
    file = _inside(path)[0] if path.is_dir() else path
    notes: list[str] = []
    frame, header, lines = _table(file, notes)
    target = _target(file, header, config.target, notes)
    values, keep, problems = _values(file, frame[target], lines)
    where = message("data.column_of", "column {name!r} of {file}", name=target, file=file.name)
    decided, why = decide(values, task, where, target)
    notes.append(
        message("data.note.task", "task {task}: {reason} in {where}", task=decided, reason=why, where=where)
        if not task
        else message("data.note.target", "target is {where}", where=where)
    )
    inputs = frame.drop(columns=target)[keep].reset_index(drop=True)
    if inputs.shape[1] == 0:
        raise Refusal(
            message(
                "data.refuse.input_columns_besides_target",
                "{file} must have input columns besides the target {target!r}, got none",
                file=file,
                target=target,
            )
        )
    inputs = remarked(inputs, notes)
    kept = np.asarray(lines)[keep]
    common = {"path": str(path), "format": "csv", "inputs": inputs, "target_names": (target,), "notes": notes}
    common |= {"problems": problems, "name_of": lambda i: f"{file.name} line {kept[i]}"}
    if targets_of(decided) == "numbers":
        return Dataset(task="regress", targets=to_numbers(values, where), **common)
    targets, classes = to_classes(values)
    return Dataset(task="classify", targets=targets, classes=classes, **common)


def read_rows(file: Path) -> pandas.DataFrame:
    """Read all columns of a csv file as `open` does, including the target. Raises Refusal as `open` does."""
    frame, _, _ = _table(file, [])
    return remarked(frame, [])


def _table(file: Path, notes: list[str]) -> tuple[Any, list[str], list[int]]:
    """Read all columns as a DataFrame; returns it, the column names, and the last line of each row."""
    text = _text(file, notes)
    separator = _separator(file, text)
    header, lines, named = _check_rows(file, text, separator)
    if not named:
        sentence = (
            "{file} has no line of column names, its first line seems to contain values ({first}): the columns are "
            "called {name} to {last}"
        )
        first = next(csv.reader(io.StringIO(text.lstrip("\n")), delimiter=separator, skipinitialspace=True))
        values = {"file": file.name, "first": ", ".join(first[:5]), "name": header[0], "last": header[-1]}
        notes.append(message("data.note.table_without_names", sentence, **values))
    return _frame(file, text, separator, lines, None if named else header, notes), header, lines


def _inside(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.iterdir()) if p.is_file() and p.name.lower().endswith(ENDINGS)]


def _text(file: Path, notes: list[str]) -> str:
    try:
        data = read_bytes(file)
        data = gunzip(data, str(file)) if file.name.lower().endswith(".gz") else data
    except (EOFError, zlib.error):
        raise Refusal(
            message("data.refuse.truncated_damaged_gzip_file", "{file} is a truncated or damaged gzip file", file=file)
        ) from None
    except OSError as error:
        raise refusal(str(file), message("data.wanted.readable", "readable"), error.strerror) from None
    text, encoding = decode_guessed(data)
    if encoding:
        notes.append(guessed_note(file.name, encoding))
    text = table_text(text)
    if "\0" in text[:4096]:
        raise refusal(
            str(file), message("data.wanted.text_file", "a text file"), message("data.got.binary_file", "a binary file")
        )
    if not text.strip():
        raise refusal(
            str(file),
            message("data.wanted.table_header_line", "a table with a header line"),
            message("data.got.empty_file", "an empty file"),
        )
    return text


def _separator(file: Path, text: str) -> str:
    """Choose the separator that occurs most often in the header line."""
    header = text.lstrip().split("\n", 1)[0]
    if ".tsv" in file.name.lower():
        return "\t"
    return max(",;\t|", key=header.count)


def _check_rows(file: Path, text: str, separator: str) -> tuple[list[str], list[int], bool]:
    """Read the column names, the last line of each row, and whether the first line holds these names.

    Raises Refusal at the first row of another length.
    """
    rows = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    lines: list[int] = []
    try:
        header = next(row for row in rows if any(row))
        top, looked = rows.line_num, [header]
        for row in rows:
            if len(row) == len(header):
                lines.append(rows.line_num)
                looked += [row] if len(looked) <= MAX_LOOKED else []
            elif any(field.strip() for field in row) and header[0].lstrip().startswith("#"):
                text = "{file} begins with comments (#): remove them, so that the first line names the columns"
                raise Refusal(message("data.refuse.table_comments", text, file=file))
            elif any(field.strip() for field in row):
                raise refusal(
                    f"{file} line {rows.line_num}",
                    message(
                        "data.wanted.fields_long_header", "{header} fields long, as the header is", header=len(header)
                    ),
                    len(row),
                )
    except csv.Error as error:
        raise Refusal(
            message(
                "data.refuse.line_cannot_read",
                "{file} line {line_num} cannot be read: {error}",
                file=file,
                line_num=rows.line_num,
                error=str(error),
            )
        ) from None
    if not lines:
        raise refusal(
            str(file),
            message("data.wanted.table_rows_below_header", "a table with rows below its header"),
            message("data.got.only_header", "only a header"),
        )
    if lacks_names(looked, MISSING):
        return [f"column {number}" for number in range(1, len(header) + 1)], [top, *lines], False
    header = [name.strip() for name in header]
    if twice := sorted(name for name, count in Counter(header).items() if count > 1):
        do = message("data.do.first_line_seems_contain", "its first line seems to contain values instead of names")
        of_values = sum(bool(VALUE.fullmatch(name)) for name in header) > len(header) / 2
        raise refusal(
            f"the columns of {file}", message("data.wanted.unique", "unique"), twice[0], do=do if of_values else ""
        )
    return header, lines, True


def _frame(file: Path, text: str, separator: str, lines: list[int], names: list[str] | None, notes: list[str]) -> Any:
    """Read the rows as a DataFrame. names: of the columns, where no line holds them."""
    import pandas

    # In files separated by semicolons "1,5" is a number.
    decimal = "," if separator == ";" and COMMA_DECIMAL.search(text[:20000]) else "."
    try:
        frame = pandas.read_csv(
            io.StringIO(text), sep=separator, index_col=False, skipinitialspace=True, dtype=str, keep_default_na=False,
            header=None if names else 0, names=names,
        )  # fmt: skip
    except (pandas.errors.ParserError, ValueError) as error:
        raise Refusal(
            message(
                "data.refuse.cannot_read_table",
                "{file} cannot be read as a table: {problem}",
                file=file,
                problem=str(error).strip().splitlines()[-1],
            )
        ) from None
    if len(frame) != len(lines):
        raise Refusal(
            message(
                "data.refuse.rows_lines_quotes_fix",
                "{file} has {lines} rows by its lines but {frame} by its quotes; fix the quotes",
                file=file,
                lines=len(lines),
                frame=len(frame),
            )
        )
    columns = {str(name).strip(): frame[name] for name in frame.columns}
    grouped = [name for name, cells in columns.items() if decimal == "." and _are_grouped(cells.tolist(), separator)]
    if grouped:
        sentence = "the commas in the numbers of {columns} are taken as thousands separators"
        notes.append(message("data.note.thousands", sentence, columns=grouped[:5]))
    columns |= {name: columns[name].str.replace(",", "") for name in grouped}
    return pandas.DataFrame({name: _typed(cells, decimal) for name, cells in columns.items()})


def _are_grouped(cells: list[str], separator: str) -> bool:
    """Return whether all values are numbers, some with commas that can only separate thousands: 1,051.6, 12,345,678.

    In a file whose fields commas separate, the comma inside of a quoted number is no decimal comma either.
    """
    filled = [cell.strip() for cell in cells if cell.strip() and cell.strip().lower() not in MISSING]
    commas = [cell for cell in filled if "," in cell]
    clear = separator == "," or any("." in cell or cell.count(",") > 1 for cell in commas)
    return bool(commas) and clear and all(GROUPED.fullmatch(cell) for cell in filled)


def _typed(column: Any, decimal: str) -> Any:
    """Convert a column of text to numbers if all its values are numbers; empty fields are missing.

    A word such as NA means a missing number in a column of numbers, and is an ordinary value among words. Numbers with
    leading zeros are codes and stay text.
    """
    import pandas

    cells = [cell.strip() for cell in column.tolist()]
    written = [cell.replace(",", ".") for cell in cells] if decimal == "," else cells
    converted: Any = pandas.to_numeric(np.array(written, dtype=object), errors="coerce")
    values: np.ndarray = converted.astype(float)
    if not any(map(CODE.fullmatch, cells)):
        missing = np.isnan(values)
        if not missing.any():
            return values.astype("int64") if _whole(written, values) else values
        left = {cells[i].lower() for i in np.flatnonzero(missing)}
        if left == {""} or (left <= MISSING | {""} and not missing.all()):
            return values
    if set(cells) <= {"True", "False"}:
        return np.array([cell == "True" for cell in cells])
    return column.where([cell != "" for cell in cells])


def _whole(texts: list[str], values: np.ndarray) -> bool:
    """Return whether all numbers are integers, written as such, that a float holds exactly."""
    integers = (values == values.round()).all() and (abs(values) < 2**53).all()
    return bool(integers) and not any(map(FRACTION.search, texts))


def _target(file: Path, header: list[str], wanted: str | None, notes: list[str]) -> str:
    if wanted is None:
        unnamed = [note for note in notes if getattr(note, "id", "") == UNNAMED]
        if unnamed:
            text = "{note}; --target '{last}' or another of them names the target"
            raise Refusal(message("data.refuse.needs_target_number", text, note=unnamed[0], last=header[-1]))
        usual = [name for name in header if name.lower() in TARGET_COLUMNS]
        if len(usual) != 1:
            raise Refusal(
                message(
                    "data.refuse.needs_target_column",
                    "{file} needs --target COLUMN, one of {listed}{value}",
                    file=file,
                    listed=", ".join(header[:20]),
                    value=" ..." * (len(header) > 20),
                )
            )
        notes.append(
            message(
                "data.note.target_by_name",
                "the target is column {name!r}, because of its name",
                name=usual[0],
            )
        )
        return usual[0]
    if wanted in header:
        return wanted
    if f"column {wanted}" in header:  # of a table without names
        return f"column {wanted}"
    values = [name for name in header if VALUE.fullmatch(name)]
    do = (
        message("data.do.first_line_seems_contain", "its first line seems to contain values instead of names")
        if len(values) > len(header) / 2
        else ""
    )
    raise refusal(
        "--target", message("data.wanted.column", "a column of {file}", file=file), wanted, near=header, do=do
    )


def _values(file: Path, column: Any, lines: list[int]) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
    """Read the target; returns the values present, a boolean mask of their rows, and problems of the other rows."""
    import pandas

    keep = column.notna().to_numpy(copy=True)
    reason = message("data.problem.no_value", "no value")
    if pandas.api.types.is_numeric_dtype(column) and not pandas.api.types.is_bool_dtype(column):
        keep &= np.isfinite(column.to_numpy(dtype=float))
        reason = message("data.problem.no_finite_value", "no finite value")
        values = column[keep].to_numpy()
    else:
        values = column[keep].astype(str).to_numpy(dtype=object)
        _no_mixture(file, column[keep], np.asarray(lines)[keep])
    if not keep.any():
        raise refusal(
            f"column {column.name!r} of {file}",
            message("data.wanted.target", "a target"),
            message("data.got.column_without_values", "a column without values"),
        )
    problems = [
        Problem(
            f"{file.name} line {lines[i]}",
            message(
                "data.problem.target_column", "{reason} in target column {column!r}", reason=reason, column=column.name
            ),
        )
        for i in np.flatnonzero(~keep)
    ]
    return values, keep, problems


def _no_mixture(file: Path, column: Any, lines: np.ndarray) -> None:
    """Raise Refusal if a column has a few words among numbers, which is an error in the file."""
    import pandas

    numbers: Any = pandas.to_numeric(column.astype(str), errors="coerce")
    odd = numbers.isna().to_numpy()
    if 0 < odd.sum() < 0.1 * len(column):
        i = int(np.flatnonzero(odd)[0])
        raise refusal(
            f"column {column.name!r} of {file} at line {lines[i]}",
            message("data.wanted.number_other_lines", "a number as in the other lines"),
            str(column.iloc[i]),
        )
