"""What makes a valid cloud useless all the same: no extent, a line, stray points, coordinates too coarse.

Whatever its size, a cloud is judged by a thousand of its points, so this takes no time that shows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_HANDFUL = 5
_GLANCE = 32
_SAMPLE = 1024
_MOST_COUNTED = 1 << 16
_OUTER = 200
"""One in so many points at each end of an axis may be a stray one."""
_SMALL = 0.01
_STRAIGHT = 1e-5
_STEPS = 1024

Floats = npt.NDArray[np.floating]


def doubts(xyz: Floats, low: Floats, high: Floats) -> list[str]:
    """One line for each thing that makes the points useless for a model.

    Args:
        xyz: (N, 3) valid points as they were stored, N >= 1.
        low, high: (3,) corners of the box around them.
    """
    if len(xyz) < _HANDFUL:
        return [f"only {len(xyz)} point{'s'[: len(xyz) - 1]}: too few points for a useful result"]
    side = float(np.subtract(high, low, dtype=np.float64).max())
    if side == 0:
        return [f"all {len(xyz)} points are in one place: nothing can be said of their shape"]
    if (distinct := _distinct(xyz)) < _HANDFUL:
        return [f"only {distinct} distinct points among {len(xyz)}: too few points for a useful result"]
    return [line for line in (_strays(xyz, side) or _line(xyz), _coarse(xyz, low, high, side)) if line]


def _sampled(xyz: Floats, count: int) -> Floats:
    """About ``count`` of the points, in an odd step, so that no row of an organised scan is taken alone."""
    return xyz[:: len(xyz) // count | 1]


def _distinct(xyz: Floats) -> int:
    """How many points differ, or the handful that is enough."""
    if len({row.tobytes() for row in _sampled(xyz, _GLANCE)}) >= _HANDFUL:
        return _HANDFUL
    return len(np.unique(_sampled(xyz, _MOST_COUNTED), axis=0))


def _strays(xyz: Floats, side: float) -> str:
    """Where all but a few points fill a small part of the extent."""
    sample = _sampled(xyz, _SAMPLE)
    outer = max(len(sample) // _OUTER, 1)
    ranks = (outer, len(sample) - 1 - outer)
    if ranks[0] >= ranks[1]:
        return ""
    inner = np.partition(sample, ranks, axis=0)[list(ranks)].astype(np.float64)
    reach = float((inner[1] - inner[0]).max())
    if reach >= _SMALL * side:
        return ""
    far = np.abs(xyz - inner.mean(axis=0)).max(axis=1) > _SMALL * side
    strays = int(np.count_nonzero(far))
    what = "stray point makes" if strays == 1 else "stray points make"
    return (
        f"{strays} {what} the rest tiny: {len(xyz) - strays} of {len(xyz)} points lie within {reach:.3g} "
        f"of an extent of {side:.3g}; crop the scan to what it is about"
    )


def _line(xyz: Floats) -> str:
    """Where the points lie on a straight line, along an axis or across."""
    sample = _sampled(xyz, _SAMPLE).astype(np.float64)
    sample = sample - sample.mean(axis=0)
    _, second, first = np.linalg.eigvalsh(sample.T @ sample)
    if second >= _STRAIGHT**2 * first:
        return ""
    return "the points lie on one straight line: nothing can be said of their shape"


def _coarse(xyz: Floats, low: Floats, high: Floats, side: float) -> str:
    """Where float32 has only a few steps along the extent, because the coordinates are large."""
    if xyz.dtype != np.float32:
        return ""
    largest = float(np.abs((low, high)).max())
    step = float(np.spacing(np.float32(largest)))
    steps = side / step
    if steps >= _STEPS:
        return ""
    return (
        f"stored as float32 with coordinates up to {largest:.4g}, where a step is {step:.3g}: the longest "
        f"side has {steps:.0f} of them; store coordinates relative to an origin, or as float64"
    )
