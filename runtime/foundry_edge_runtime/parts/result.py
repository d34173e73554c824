"""What `run --parts` found in one scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class PartResult:
    """The part of every point.

    Attributes:
        category: what the parts are those of.
        score: probability of its class; None where the head does not know the category.
        named: whether the category was named; otherwise it is the most probable one that has parts.
        names: of the category's parts.
        part: (N,) int32, indexes ``names``, in the order of the cloud's points.
        ms: what finding them took.
    """

    category: str
    score: float | None
    named: bool
    names: tuple[str, ...]
    part: npt.NDArray[np.int32] = field(repr=False)
    ms: float

    @property
    def counts(self) -> dict[str, int]:
        """Points of each part, in the order of ``names``."""
        found = np.bincount(self.part, minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, found, strict=True)}

    def doubt(self, min_score: float) -> tuple[str, ...]:
        """A warning when the category was not named and is not likely."""
        if self.named or self.score is None or self.score >= min_score:
            return ()
        return (
            f"the parts are those of {self.category}, which scores {self.score:.2f}, below {min_score:g}; "
            "name another with --category",
        )

    def as_json(self) -> dict[str, Any]:
        """The object ``parts`` of `run --json`."""
        return {
            "category": self.category,
            "score": self.score,
            "named": self.named,
            "counts": self.counts,
            "ms": round(self.ms, 3),
        }
