"""Per-point attributes: dtypes kept, packed colours unpacked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.raw import Column, native

_PACKED = ("rgb", "rgba")


def attributes_of(columns: dict[str, Column]) -> dict[str, Column]:
    """Contiguous arrays in this machine's byte order; `rgb` and `rgba` packed in one number become uint8.

    A packed colour is 0xAARRGGBB in a uint32, or in a float32 with the same bits, as PCL writes it; the
    result is (N, 3) for rgb, (N, 4) for rgba, in the order red, green, blue, alpha.
    """
    return {name: _unpacked(name.lower(), native(column)) for name, column in columns.items()}


def _unpacked(name: str, column: Column) -> Column:
    if name not in _PACKED or column.ndim != 1 or column.dtype.itemsize != 4:
        return column
    bits = column.view(np.uint32)
    shifts = (16, 8, 0) if name == "rgb" else (16, 8, 0, 24)
    return np.stack([(bits >> shift).astype(np.uint8) for shift in shifts], axis=1)


def cast_values(values: npt.NDArray[np.float64], dtype: np.dtype[np.generic], name: str) -> Column:
    """Numbers read from text as the type that the header declares, or float64 where they do not fit it.

    A packed `rgb` float is written as its integer by PCL, or as the float with those bits by others.
    """
    wanted = np.dtype(np.uint32) if name.lower() in _PACKED and _integral(values) else dtype
    if wanted.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(wanted)
    limits = np.iinfo(wanted)  # type: ignore[type-var]
    fits = _integral(values) and values.size and values.min() >= limits.min and values.max() <= limits.max
    return values.astype(wanted) if fits and wanted.itemsize < 8 else values


def _integral(values: npt.NDArray[np.float64]) -> bool:
    if not values.size:
        return False
    low, high = values.min(), values.max()  # NaN and infinity show here
    return bool(
        abs(low) < 2**53
        and abs(high) < 2**53
        and (values == np.floor(values)).all()
        and (low < 0 or high >= 1)
    )
