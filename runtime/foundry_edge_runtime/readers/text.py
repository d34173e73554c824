"""Tables of points in text: XYZ, CSV, TXT, ASC and PTS; delimiter, header and point count are sniffed."""

from __future__ import annotations

import re

from foundry_edge_runtime.readers.attributes import attributes_of
from foundry_edge_runtime.readers.columns import axis_names
from foundry_edge_runtime.readers.raw import Column, Options, RawCloud, stack_xyz
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import is_number, normalise_newlines, parse_rows
from foundry_edge_runtime.readers.text_layout import LATER_COMMENT, Layout, sniff
from foundry_edge_runtime.readers.text_mixed import parse_mixed

_BOM = b"\xef\xbb\xbf"


def read(source: Source, options: Options) -> RawCloud:
    """Read one table of points."""
    body = normalise_newlines(source.read(0, source.size).removeprefix(_BOM))
    layout = sniff(source, body, options)
    what = f"line {layout.header_line} (column names)" if layout.header_line else "columns"
    axes = axis_names(source, layout.names, what)
    rows = body[layout.start :]
    if b"#" in rows or b"/" in rows:
        rows = LATER_COMMENT.sub(b"", rows)
    if layout.decimal_comma:
        rows = rows.replace(b",", b".")
    parse = _numbers if all(is_number(word) for word in layout.words) else parse_mixed
    columns = parse(source, rows, layout, options)
    _check_count(source, layout, len(columns[axes[0]]), options)
    x, y, z = (columns.pop(name) for name in axes)
    kept = {name: column for name, column in columns.items() if not name.startswith("_")}
    return RawCloud("text", tuple(layout.names), stack_xyz(x, y, z), attributes_of(kept))


def _numbers(source: Source, rows: bytes, layout: Layout, options: Options) -> dict[str, Column]:
    if layout.trailing_delimiter and layout.delimiter:
        rows = re.sub(re.escape(layout.delimiter.encode()) + rb"[ \t]*(?=\n|\Z)", b"", rows)
    table, problem = parse_rows(
        source,
        rows,
        len(layout.names),
        first_line=layout.line,
        delimiter=layout.delimiter,
        salvage=options.salvage,
    )
    if problem:
        source.warn(f"{problem}; kept the {len(table)} rows before it")
    return {name: table[:, i] for i, name in enumerate(layout.names)}


def _check_count(source: Source, layout: Layout, rows: int, options: Options) -> None:
    """The number of points in the first line of a PTS file against the rows."""
    if layout.count is None or layout.count == rows:
        return
    problem = f"line 1 claims {layout.count} points, {rows} rows are present"
    if rows < layout.count and not options.salvage:
        raise source.error(f"truncated: {problem}", "re-copy the file, or pass --salvage to keep the rows")
    source.warn(problem)
