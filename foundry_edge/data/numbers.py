"""Labels, sides and parts: whole numbers of a range, whatever dtype a file keeps them in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MOST = 65535
"""Largest number of a class or part where a file does not name them."""


def whole_numbers(
    found: npt.NDArray[np.generic], name: str, shape: tuple[int, ...], low: int, high: int
) -> npt.NDArray[np.int64]:
    """An array as int64 after a check of its shape and of every number.

    Args:
        found: as the file has it.
        name: of the array, for the message.
        shape: expected.
        low: smallest number expected.
        high: largest number expected.

    Raises:
        ValueError: of another shape, not numbers, or a number is not whole or out of range.
    """
    if found.shape != shape or found.dtype.kind not in "biuf":
        raise ValueError(f"'{name}' is {found.dtype} {found.shape}, expected integers {shape}")
    with np.errstate(invalid="ignore"):
        whole = found.astype(np.int64)
    wrong = (whole != found) | (whole < low) | (whole > high)
    if wrong.any():
        raise ValueError(f"'{name}' holds {found[wrong][0]}, expected whole numbers from {low} to {high}")
    return whole
