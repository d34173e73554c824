"""How an array holds points: (N, C) columns, or named fields."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.attributes import attributes_of
from foundry_edge_runtime.readers.columns import axis_names, require_scalar
from foundry_edge_runtime.readers.raw import Column, RawCloud, stack_xyz
from foundry_edge_runtime.readers.source import Source

_WIDEST = 16
"""Columns beyond which an array looks like features rather than points, and is wrong with fewer rows."""


def cloud_of_array(
    source: Source, array: npt.NDArray[np.generic], format_name: str, columns: tuple[str, ...] | None
) -> RawCloud:
    """The points of an (N, C) array or of a structured one.

    Args:
        source: for error messages.
        array: numbers, C >= 3; or named fields among which x, y and z.
        format_name: of the result.
        columns: names of the C columns; x, y, z and then column_4, ... by default.

    Raises:
        ScanError: another shape or dtype, naming both.
    """
    if array.dtype.names is not None:
        if columns is not None:
            source.warn("--columns was not used: the fields of the array have names")
        return _structured(source, array.view(np.ndarray), format_name)
    if array.dtype.kind not in "fiu":
        raise source.error(
            f"dtype {array.dtype} is not a real number type{_called(array.dtype)}",
            "save real numbers, e.g. float32",
        )
    if array.ndim != 2 or array.shape[1] < 3:
        raise source.error(
            f"shape {array.shape} is not points: expected (N, C) with at least 3 columns",
            "save the points of one scan as rows x, y, z",
        )
    if array.shape[1] > max(array.shape[0], _WIDEST):
        raise source.error(
            f"shape {array.shape} looks transposed: expected (N, C)", "save the transposed array"
        )
    if array.shape[1] > _WIDEST and columns is None:
        source.warn(
            f"the first 3 of {array.shape[1]} columns were taken for x, y and z; so many look like features, "
            "not points"
        )
    names = _names(source, array.shape[1], columns)
    x, y, z = (array[:, names.index(axis)] for axis in axis_names(source, names, "columns"))
    rest = {name: array[:, i] for i, name in enumerate(names) if name.lower() not in "xyz" and name != "_"}
    return RawCloud(format_name, tuple(names), stack_xyz(x, y, z), attributes_of(rest))


def _names(source: Source, width: int, columns: tuple[str, ...] | None) -> list[str]:
    if columns is None:
        return ["x", "y", "z"] + [f"column_{i}" for i in range(4, width + 1)]
    if len(columns) != width:
        raise source.error(
            f"--columns names {len(columns)} columns, the array has {width}", "name every column"
        )
    return list(columns)


def _structured(source: Source, array: npt.NDArray[np.void], format_name: str) -> RawCloud:
    names = list(array.dtype.names or ())
    axes = axis_names(source, names, "fields of the array")
    rows = array.reshape(-1)
    columns: dict[str, Column] = {name: rows[name] for name in names if _is_number(array.dtype[name])}
    for name in axes:
        if name not in columns:
            raise source.error(f"field {name!r} has dtype {array.dtype[name]}, expected a real number type")
        require_scalar(source, name, columns[name][:1].size or 1, "values")
    x, y, z = (columns.pop(name) for name in axes)
    return RawCloud(format_name, tuple(names), stack_xyz(x, y, z), attributes_of(columns))


def _is_number(dtype: np.dtype[np.generic]) -> bool:
    return dtype.base.kind in "fiub"


def _called(dtype: np.dtype[np.generic]) -> str:
    kinds = {
        "U": " (a string)",
        "S": " (a string)",
        "c": " (complex)",
        "O": " (Python objects)",
        "b": " (boolean)",
    }
    return kinds.get(dtype.kind, "")
