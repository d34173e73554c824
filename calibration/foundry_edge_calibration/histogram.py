"""Magnitudes of one activation tensor in bounded memory."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

BINS = 4096


class Histogram:
    """Counts of |x| in equal bins over [0, reach), where reach is a power of two that grows with the data.

    Growing merges bins in pairs, which is exact, so the result depends neither on the order of the data
    nor on how they are cut into batches. Signs are not kept: quantisation is symmetric.

    Attributes:
        counts: (BINS,) int64.
        reach: upper end of the last bin, a power of two; 0 while no non-zero value was seen.
        largest: the largest |x| seen.
        values: how many values were seen, zeros included.
    """

    def __init__(self) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, dtype=np.int64)
        self.reach = 0.0
        self.largest = 0.0
        self.values = 0

    def add(self, x: npt.NDArray[np.float32]) -> None:
        """Count the values of an array of any shape.

        Raises:
            FloatingPointError: a value is not finite.
        """
        magnitude = np.abs(x).ravel()
        largest = float(magnitude.max(initial=0.0))
        if not math.isfinite(largest):
            raise FloatingPointError("a value is not finite")
        self.largest = max(self.largest, largest)
        self.values += magnitude.size
        self._grow(largest)
        if self.reach:
            index = np.minimum((magnitude * np.float32(BINS / self.reach)).astype(np.int32), BINS - 1)
            self.counts += np.bincount(index, minlength=BINS)
        else:
            self.counts[0] += magnitude.size

    def _grow(self, largest: float) -> None:
        if largest <= self.reach:
            return
        reach = 2.0 ** math.ceil(math.log2(largest))
        if self.reach:
            factor = min(int(reach / self.reach), BINS)
            merged = self.counts.reshape(-1, factor).sum(axis=1)
            self.counts = np.zeros(BINS, dtype=np.int64)
            self.counts[: len(merged)] = merged
        self.reach = reach

    @property
    def width(self) -> float:
        """Width of a bin."""
        return self.reach / BINS

    @property
    def used(self) -> int:
        """Bins up to the one that holds the largest value."""
        return int(self.counts.nonzero()[0][-1]) + 1 if self.values else 0
