"""What the first lines of a text table say: comments, column names, point count, delimiter."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

from foundry_edge_runtime.readers.columns import AXES, unique_names
from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import MAX_LINE_BYTES, is_number

_MAX_HEADER_BYTES = 1 << 20
_COMMENTS = (b"#", b"//", b"%", b"!")
_DELIMITERS = (";", ",", "\t")
LATER_COMMENT = re.compile(rb"((?<!1\.)#|//)[^\n]*")
_QUOTED = re.compile(rb'"[^"]*"')
_DECORATION = re.compile(r"\s*[(\[].*[)\]]\Z|[\"']")
_UNNAMED = {4: "x y z intensity", 6: "x y z r g b", 7: "x y z intensity r g b"}
"""Columns of a PTS file, which names none."""


@dataclass
class Layout:
    """Where the rows of numbers start and what their columns are.

    Attributes:
        start: offset of the first row.
        line: its line number.
        words: its cells.
        delimiter: None for white space.
        trailing_delimiter: whether rows end with a delimiter.
        names: of all columns.
        header_line: line of the column names, 0 when there is none.
        count: rows that the file claims (PTS), None when it does not.
        decimal_comma: whether numbers are written as 1,5 (between semicolons).
    """

    start: int
    line: int
    words: list[bytes]
    delimiter: str | None
    trailing_delimiter: bool
    names: list[str]
    header_line: int
    count: int | None
    decimal_comma: bool = False


def sniff(source: Source, body: bytes, options: Options) -> Layout:
    """Find the first row with three numbers or more, and what the lines before it say.

    Raises:
        ScanError: no such row, or another number of names than columns; names the line.
    """
    header: list[bytes] = []
    header_line, count = 0, None
    for line, start, text in _lines(source, body):
        if text.startswith(_COMMENTS):
            words, _, _ = split(text.lstrip(b"#/%! "))
            header = words if _names_axes(words) and not header_line else header
            continue
        words, delimiter, trailing = split(LATER_COMMENT.sub(b"", text))
        if trailing and len(header) == len(words) + 1:  # an empty last cell, not the end of the row
            words, trailing = [*words, b""], False
        decimal_comma = delimiter == ";" and b"," in text and all(map(_is_with_comma, words))
        if decimal_comma:
            words = [word.replace(b",", b".") for word in words]
        numbers = sum(is_number(word) for word in words)
        if numbers >= len(AXES):
            names, line_of_names = _named(source, words, header, header_line, options, count)
            return Layout(start, line, words, delimiter, trailing, names, line_of_names, count, decimal_comma)
        if len(words) == 1 and count is None and words[0].isdigit() and len(words[0]) < 16:
            count = int(words[0])
        elif numbers == 0 and not header_line:
            header, header_line = words, line
        else:
            raise _no_points(source, line, text, header, header_line)
    raise source.error("no line holds three numbers: not a table of points", "write one point a line: x y z")


def split(text: bytes) -> tuple[list[bytes], str | None, bool]:
    """The cells of a line, its delimiter, and whether it ends with one."""
    if b'"' in text:
        return _split_quoted(text)
    for delimiter in _DELIMITERS:
        code = delimiter.encode()
        if code in text and (code != b"\t" or len(text.split()) != len(text.split(code))):
            trailing = text.rstrip(b" ").endswith(code)
            cells = text.rstrip(b" ").removesuffix(code).split(code) if trailing else text.split(code)
            return [cell.strip() for cell in cells], delimiter, trailing
    return text.split(), None, False


def _split_quoted(text: bytes) -> tuple[list[bytes], str | None, bool]:
    outside = _QUOTED.sub(b"", text)
    delimiter = next((d for d in _DELIMITERS if d.encode() in outside), None)
    try:
        (cells,) = csv.reader([text.decode("latin-1")], delimiter=delimiter or " ", skipinitialspace=True)
    except (csv.Error, ValueError):
        return text.split(), None, False
    return [cell.strip().encode("latin-1") for cell in cells], delimiter, False


def _lines(source: Source, body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, offset and stripped text of the lines that are not blank."""
    start, line = 0, 1
    while start < min(len(body), _MAX_HEADER_BYTES):
        end = body.find(b"\n", start, start + MAX_LINE_BYTES)
        if end < 0:
            end = len(body)
            if end - start > MAX_LINE_BYTES:
                raise source.error(
                    f"line {line} is longer than {MAX_LINE_BYTES} characters: not a table of points",
                    "write one point a line: x y z",
                )
        if text := body[start:end].strip(b" \x00\x1a"):
            yield line, start, text
        start, line = end + 1, line + 1


def _is_with_comma(word: bytes) -> bool:
    return word.count(b",") <= 1 and b"." not in word and is_number(word.replace(b",", b"."))


def _names_axes(words: list[bytes]) -> bool:
    return set(AXES) <= {clean_name(word).lower() for word in words}


def clean_name(word: bytes) -> str:
    """A column name without quotes and unit."""
    return _DECORATION.sub("", word.decode("utf-8", "backslashreplace")).strip()


def _named(
    source: Source,
    words: list[bytes],
    header: list[bytes],
    header_line: int,
    options: Options,
    count: int | None,
) -> tuple[list[str], int]:
    width = len(words)
    if options.columns is not None:
        if len(options.columns) != width:
            problem = f"--columns names {len(options.columns)} columns, the rows have {width}"
            raise source.error(problem, "name every column, '_' skips one")
        own = [clean_name(word) for word in header]
        if _names_axes(header) and own != list(options.columns):
            source.warn(f"--columns takes the place of the file's own names: {shorten(' '.join(own), 60)}")
        return unique_names(list(options.columns)), 0
    if header_line and len(header) != width:
        raise source.error(f"line {header_line} names {len(header)} columns, the first row has {width}")
    if header and len(header) == width:
        return unique_names(
            [clean_name(word) or f"column_{i}" for i, word in enumerate(header, 1)]
        ), header_line
    if count is not None and width in _UNNAMED:
        return _UNNAMED[width].split(), 0
    return [*AXES, *(f"column_{i}" for i in range(4, width + 1))], 0


def _no_points(source: Source, line: int, text: bytes, header: list[bytes], header_line: int) -> Exception:
    if header_line and not _names_axes(header):
        listed = shorten(" ".join(clean_name(word) for word in header), 60)
        return source.error(
            f"line {header_line} (column names): no column named x, y and z among: {listed}",
            "name the columns x, y and z, or pass --columns",
        )
    found = shorten(text.decode("latin-1"))
    return source.error(
        f"line {line}: expected at least 3 columns of numbers, found {found!r}", "fix the line"
    )
