"""How wide the rows of a headerless float32 table are, when its values leave one answer.

In a table of w columns, the values at offset i and i + w come from the same column, so they are distributed
alike; those at other distances mix coordinates, intensities and colours. Every candidate w that divides the
file is judged by the largest Kolmogorov-Smirnov distance between offsets that it would put into one column.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.policy import MAX_COORDINATE
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.source import Source

WIDTHS = (3, 4, 5, 6)
_PERIOD = 60
"""Least common multiple of `WIDTHS`."""
_BLOCKS = 500
_FEWEST_BLOCKS = 30
_ALIKE = 0.35
_NOISE = 3.0
"""Distances of alike samples of n values stay below this / sqrt(n), also the largest of some sixty."""
_PLAUSIBLE = 0.9
_ASK = "pass --columns, e.g. --columns x,y,z,intensity"

Values = npt.NDArray[np.float32]


def infer_width(source: Source, options: Options) -> int:
    """The number of float32 values in a row.

    Raises:
        ScanError: no width divides the file, several fit, or the values are no coordinates.
    """
    fitting = [width for width in WIDTHS if source.size % (4 * width) == 0]
    if not fitting and not options.salvage:
        raise source.error(
            f"{source.size} bytes are not a multiple of 12, 16, 20 or 24 bytes a row (3 to 6 float32): "
            "truncated, or other columns",
            f"re-copy the file, {_ASK}, or --salvage",
        )
    values = source.array(0, source.size // 4 * 4).view("<f4")
    _require_plausible(source, values)
    return _judged(source, fitting or list(WIDTHS), values)


def _judged(source: Source, candidates: list[int], values: Values) -> int:
    blocks = _sample(values)
    if len(blocks) < _FEWEST_BLOCKS:
        if len(candidates) == 1:
            return candidates[0]
        raise _ambiguous(source, candidates)
    distances = _distances(blocks, candidates)
    noise = _NOISE / np.sqrt(len(blocks))
    alike = [width for width, distance in distances.items() if distance <= max(_ALIKE, noise)]
    if 3 in alike:  # 6 would hold two points in one row
        alike = [width for width in alike if width != 6]
    if len(alike) != 1:
        raise _ambiguous(source, alike)
    return alike[0]


def _require_plausible(source: Source, values: Values) -> None:
    """Refuse noise: coordinates, intensities and colours are neither huge nor almost zero."""
    step = max(1, len(values) // 4096)
    sample = np.abs(values[::step])
    good = np.isnan(sample) | (sample == 0) | ((sample > 1e-7) & (sample <= MAX_COORDINATE))
    if np.count_nonzero(good) < _PLAUSIBLE * len(sample):
        raise source.error("the values are no float32 coordinates (out of range or noise)", _ASK)


def _sample(values: Values) -> Values:
    whole = len(values) // _PERIOD
    blocks = values[: whole * _PERIOD].reshape(whole, _PERIOD)
    return blocks[np.linspace(0, whole - 1, min(whole, _BLOCKS)).astype(np.int64)] if whole else blocks


def _distances(blocks: Values, widths: list[int]) -> dict[int, float]:
    columns = np.sort(blocks, axis=0)
    return {
        width: max(_kolmogorov(columns[:, i], columns[:, i + width]) for i in range(_PERIOD - width))
        for width in widths
    }


def _kolmogorov(first: Values, second: Values) -> float:
    """Largest difference between the empirical distributions of two sorted samples of one length."""
    both = np.concatenate([first, second])
    below = np.searchsorted(first, both, "right") - np.searchsorted(second, both, "right")
    return float(np.abs(below).max()) / len(first)


def _ambiguous(source: Source, candidates: list[int]) -> Exception:
    widths = " or ".join(str(width) for width in sorted(candidates)) or "none of 3 to 6"
    return source.error(f"the number of float32 columns is ambiguous: {widths} would fit", _ASK)
