"""What the user can afford."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from foundry_edge_runtime.bundle.manifest import PRECISIONS
from foundry_edge_runtime.errors import InputError

Prefer = Literal["accuracy", "latency", "memory"]
_PREFERENCES = ("accuracy", "latency", "memory")


@dataclass(frozen=True)
class Budget:
    """Limits that the engine must keep, and which rungs and backends may be used at all.

    Errors call an argument by its option on the command line: --max-latency-ms is ``max_latency_ms``.

    Attributes:
        max_latency_ms: highest 90th percentile of grouping and engine together, one cloud at a time.
        min_accuracy: lowest accuracy of the head, in percent.
        max_memory_mb: highest peak resident memory of the process, in MiB.
        tokens: only rungs with this many SuperTokens.
        precision: only rungs of this precision ("fp32", "fp16", "int8", "int8-fp16"; in any case).
        backend: only this backend (`backend_names`).
        prefer: what to make best among the engines that fit.

    Raises:
        InputError: a value makes no sense.
    """

    max_latency_ms: float | None = None
    min_accuracy: float | None = None
    max_memory_mb: float | None = None
    tokens: int | None = None
    precision: str | None = None
    backend: str | None = None
    prefer: Prefer = "accuracy"

    def __post_init__(self) -> None:
        for flag, value in (("max-latency-ms", self.max_latency_ms), ("max-memory-mb", self.max_memory_mb)):
            if value is not None and not (_is_number(value) and math.isfinite(value) and value > 0):
                raise InputError(f"--{flag} must be a number above 0, found {value!r}")
        accuracy = self.min_accuracy
        if accuracy is not None and not (_is_number(accuracy) and (accuracy == 0 or 1 < accuracy <= 100)):
            raise InputError(
                f"--min-accuracy must be a percentage above 1 and up to 100, found {accuracy!r}",
                remedy="write 90 for 90 %",
            )
        if self.tokens is not None and not (_is_number(self.tokens, Integral) and self.tokens >= 1):
            raise InputError(f"--tokens must be a whole number above 0, found {self.tokens!r}")
        if self.precision is not None:
            object.__setattr__(self, "precision", _precision(self.precision))
        if self.prefer not in _PREFERENCES:
            raise InputError(f"prefer must be one of {', '.join(_PREFERENCES)}; found {self.prefer!r}")


def budget_of(budget: Budget | None) -> Budget:
    """The budget given to a session, or one without limits.

    Raises:
        InputError: it is something else, such as a number of milliseconds.
    """
    if budget is None:
        return Budget()
    if not isinstance(budget, Budget):
        remedy = "give Budget(max_latency_ms=10)"
        raise InputError(f"budget must be a Budget, found {budget!r}", remedy=remedy)
    return budget


def _is_number(value: object, kind: type = Real) -> bool:
    """Whether it is a number of this kind; Python counts True as one."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _precision(name: str) -> str:
    if str(name).lower() not in PRECISIONS:
        raise InputError(f"--precision must be one of {', '.join(PRECISIONS)}; found {name!r}")
    return name.lower()
