"""Rows of numbers in text, for every ascii format: numpy's C parser, with errors that name the line."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.source import Source

Table = npt.NDArray[np.float64]

MAX_LINE_BYTES = 1 << 20
_MSVC_NAN = re.compile(rb"[+-]?1\.#(QNAN|SNAN|IND|INF)[0-9]*", re.IGNORECASE)
"""How older Windows programs print numbers that are none."""
_ROW = re.compile(r"at row ([0-9]+)")
_NUMBER = re.compile(
    rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf(inity)?|nan)\Z", re.IGNORECASE
)


def parse_rows(
    source: Source,
    body: bytes,
    columns: int,
    *,
    first_line: int,
    delimiter: str | None = None,
    rows: int | None = None,
    salvage: bool = False,
    what: str = "",
) -> tuple[Table, str]:
    """The numbers in ``body``, one row a line, blank lines skipped.

    Args:
        source: for error messages.
        body: text, any line ends.
        columns: numbers expected in every row.
        first_line: line number of the start of ``body`` in the file, for messages.
        delimiter: None for any white space.
        rows: how many rows to read; None for all. Fewer are returned when ``body`` ends early.
        salvage: stop at the first bad row instead of raising.
        what: what the rows are, for messages.

    Returns:
        (N, columns) float64, and what was wrong with the row after the last ("" when nothing was).

    Raises:
        ScanError: a row with another number of columns, or a word, naming the line.
    """
    if rows == 0 or not body or body.isspace():
        return np.empty((0, columns)), ""
    body = normalise_newlines(body)
    if b"#" in body:
        body = _MSVC_NAN.sub(b"nan", body)
    _check_line_lengths(source, body, first_line)
    hint = 0
    try:
        table = _parse(body, delimiter, rows)
        if table.shape[1] == columns:
            return table, ""
    except (ValueError, OverflowError) as error:
        found = _ROW.search(str(error))
        hint = max(0, int(found[1]) - 2) if found else 0
    line, good, problem = _first_bad_line(body, columns, delimiter, first_line, hint)
    if not salvage:
        raise source.error(f"line {line} (row {good + 1}{what}): {problem}", "fix the line")
    if good == 0:
        return np.empty((0, columns)), problem
    return _parse(body, delimiter, good), f"line {line} (row {good + 1}): {problem}"


def normalise_newlines(body: bytes) -> bytes:
    """All line ends as LF."""
    if b"\r" in body:
        body = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return body


def _check_line_lengths(source: Source, body: bytes, first_line: int) -> None:
    start = 0
    while len(body) - start > MAX_LINE_BYTES:
        end = body.rfind(b"\n", start, start + MAX_LINE_BYTES)
        if end < 0:
            line = first_line + body.count(b"\n", 0, start)
            raise source.error(
                f"line {line} is longer than {MAX_LINE_BYTES} characters: not a table of points",
                "write one point a line",
            )
        start = end + 1


def _parse(body: bytes, delimiter: str | None, rows: int | None) -> Table:
    text: Iterable[str] = io.TextIOWrapper(io.BytesIO(body), encoding="latin-1")
    if rows is not None and body.count(b"\n") == rows and body.endswith(b"\n"):
        rows = None
    if rows is not None:
        text = filter(str.strip, text)  # numpy leaves out blank lines too, but warns when it counts rows
    return np.loadtxt(text, np.float64, comments=None, delimiter=delimiter, ndmin=2, max_rows=rows)


def _first_bad_line(
    body: bytes, columns: int, delimiter: str | None, first_line: int, hint: int
) -> tuple[int, int, str]:
    """Line number of the first row that is not ``columns`` numbers, the good rows before it, and why.

    ``hint`` is a number of rows that are likely good; they are skipped if the first row is.
    """
    separator = None if delimiter is None else delimiter.encode()
    start, skipped = after_rows(body, hint) if _starts_well(body, columns, separator) else (0, 0)
    good = hint if start > 0 else 0
    text = io.BytesIO(body)
    text.seek(max(0, start))
    for number, line in enumerate(text, first_line + (skipped if start > 0 else 0)):
        if not line.strip():
            continue
        problem = _row_problem(line, columns, separator)
        if problem:
            return number, good, problem
        good += 1
    return first_line, 0, "the rows cannot be read as numbers"


def _starts_well(body: bytes, columns: int, separator: bytes | None) -> bool:
    first = next(line for line in io.BytesIO(body) if line.strip())
    return _row_problem(first, columns, separator) == ""


def _row_problem(line: bytes, columns: int, separator: bytes | None) -> str:
    words = [word.strip() for word in line.split(separator)]
    for index, word in enumerate(words, 1):
        if not _NUMBER.match(word):
            found = shorten(word.decode("latin-1"))
            return f"column {index}: expected a number, found {found!r}"
    if len(words) != columns:
        return f"expected {columns} columns, found {len(words)}"
    return ""


def is_number(word: bytes) -> bool:
    """Whether ``word`` is one decimal number, infinity or NaN."""
    return _NUMBER.match(word) is not None


def lines_of(head: bytes) -> Iterator[bytes]:
    """Stripped, non-blank lines."""
    for line in normalise_newlines(head).split(b"\n"):
        if stripped := line.strip():
            yield stripped


def after_rows(body: bytes, rows: int) -> tuple[int, int]:
    """Offset after the first ``rows`` non-blank lines (-1 if there are fewer), and the lines passed."""
    start = lines = 0
    while rows > 0:
        if start >= len(body):
            return -1, lines
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        rows -= bool(body[start:end].strip())
        start, lines = end + 1, lines + 1
    return start, lines
