"""Text tables in which some cells are words, quoted or empty: parsed cell by cell."""

from __future__ import annotations

import csv
import io
import math
from array import array

import numpy as np

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.columns import AXES
from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.raw import Column, Options
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import is_number
from foundry_edge_runtime.readers.text_layout import Layout


def parse_mixed(source: Source, rows: bytes, layout: Layout, options: Options) -> dict[str, Column]:
    """The coordinates and the columns that hold a number in the first row; an empty cell is NaN.

    Raises:
        ScanError: a row of another width, or a word in a column of numbers, naming the line.
    """
    kept = [i for i, name in enumerate(layout.names) if name.lower() in AXES or _is_numeric(layout.words[i])]
    skipped = [name for i, name in enumerate(layout.names) if i not in kept]
    if skipped:
        source.warn(f"columns that hold no numbers were left out: {shorten(', '.join(skipped), 60)}")
    values = array("d")
    reader = csv.reader(
        (line.decode("latin-1") for line in io.BytesIO(rows)),
        delimiter=layout.delimiter or " ",
        skipinitialspace=True,
        quotechar='"',
    )
    try:
        for cells in reader:
            values.extend(_row(source, cells, layout, kept, layout.line + reader.line_num - 1))
    except csv.Error as error:
        raise source.error(f"line {layout.line + reader.line_num - 1}: {error}", "fix the line") from None
    except ScanError as error:
        if not (options.salvage and values):
            raise
        source.warn(f"{error.problem}; kept the {len(values) // len(kept)} rows before it")
    table = np.array(values).reshape(-1, len(kept))
    return {layout.names[i]: table[:, position] for position, i in enumerate(kept)}


def _is_numeric(word: bytes) -> bool:
    return not word or is_number(word.strip(b"\"'"))


def _row(source: Source, cells: list[str], layout: Layout, kept: list[int], line: int) -> list[float]:
    if layout.delimiter is None:
        cells = [cell for cell in cells if cell]
    elif layout.trailing_delimiter and cells:
        cells = cells[:-1]
    if not any(cells):
        return []
    if len(cells) != len(layout.names):
        raise source.error(
            f"line {line}: expected {len(layout.names)} columns, found {len(cells)}", "fix the line"
        )
    return [_number(source, cells[i].strip(), line, i) for i in kept]


def _number(source: Source, cell: str, line: int, column: int) -> float:
    if not cell:
        return math.nan
    try:
        if "_" not in cell:
            return float(cell)
    except ValueError:
        pass  # said below, with the line
    raise source.error(
        f"line {line}, column {column + 1}: expected a number, found {shorten(cell)!r}", "fix the line"
    )
