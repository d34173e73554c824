"""Headerless tables of little-endian numbers: KITTI, nuScenes, SUN RGB-D and ScanNet style .bin files.

Such a file does not say how wide its rows are. They are inferred when the data leave one answer, else asked
for with --columns, where "_" skips a column and "name:type" gives a type other than float32.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.attributes import attributes_of
from foundry_edge_runtime.readers.columns import axis_names, unique_names
from foundry_edge_runtime.readers.raw import Column, Options, RawCloud, stack_xyz
from foundry_edge_runtime.readers.row_width import infer_width
from foundry_edge_runtime.readers.source import Source

_NAMES = {3: "x y z", 4: "x y z intensity", 5: "x y z intensity ring"}
_COLOURS = ("red", "green", "blue")
_DTYPES = ("f4", "f8", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")
_LONG = {
    "float32": "f4", "float64": "f8", "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8",
    "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8",
}  # fmt: skip


def read(source: Source, options: Options) -> RawCloud:
    """Read one headerless table."""
    given = options.columns is not None
    dtype = _given(source, options.columns) if options.columns else _inferred(source, options)
    row_count = _whole_rows(source, dtype.itemsize, options)
    rows = source.array(0, row_count * dtype.itemsize).view(dtype)
    names = list(dtype.names or ())
    if not given and len(names) == 6 and _are_colours(rows):
        rows = rows.view(np.dtype([(name, "<f4") for name in (*names[:3], *_COLOURS)]))
        names[3:] = _COLOURS
    columns: dict[str, Column] = {name: rows[name] for name in names}
    x, y, z = (columns.pop(name) for name in axis_names(source, names, "--columns"))
    kept = {name: column for name, column in columns.items() if not name.startswith("_")}
    return RawCloud("bin" if given else "bin/float32", tuple(names), stack_xyz(x, y, z), attributes_of(kept))


def _inferred(source: Source, options: Options) -> np.dtype[np.void]:
    width = infer_width(source, options)
    source.warn(f"columns inferred: {width} float32 a row; pass --columns to be sure")
    names = _NAMES.get(width, "x y z column_4 column_5 column_6").split()
    return np.dtype([(name, "<f4") for name in names])


def _are_colours(rows: npt.NDArray[np.void]) -> bool:
    """Whether the columns after x, y and z are whole numbers from 0 to 255, as in the ScanNet files."""
    values = np.ascontiguousarray(rows[:: max(1, len(rows) // 4096)]).view("<f4").reshape(-1, 6)[:, 3:]
    return bool(((values >= 0) & (values <= 255) & (values == np.floor(values))).all() and (values > 1).any())


def _given(source: Source, columns: tuple[str, ...]) -> np.dtype[np.void]:
    parts = [column.partition(":")[::2] for column in columns]
    names = unique_names([name for name, _ in parts])
    types = []
    for name, kind in parts:
        code = _LONG.get(kind, kind or "f4")
        if code not in _DTYPES:
            raise source.error(
                f"--columns: type {kind!r} of {name!r} is unknown", f"use one of {', '.join(_LONG)}"
            )
        types.append(f"<{code}")
    return np.dtype(list(zip(names, types, strict=True)))


def _whole_rows(source: Source, row_bytes: int, options: Options) -> int:
    rows, rest = divmod(source.size, row_bytes)
    if rest == 0:
        return rows
    problem = (
        f"truncated, or other columns: {source.size} bytes are not a multiple of {row_bytes} bytes a row"
    )
    if not (options.salvage and rows):
        raise source.error(
            problem, "re-copy it, give the right --columns, or pass --salvage for the whole rows"
        )
    source.warn(f"{problem}; kept {rows} whole points")
    return rows
