"""Whether one scan kept the limits that its engine was chosen by, and by how much it did not."""

from __future__ import annotations

from typing import NamedTuple

from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.choice import Choice

_LARGE = 2
"""A scan with so many times the points that engines are measured with is called large."""


class Spent(NamedTuple):
    """What one scan took.

    Attributes:
        latency_ms: grouping and engine together.
        peak_mb: peak resident memory of the process in MiB until the result was ready; None where the
            system does not tell.
        points: of the scan.
    """

    latency_ms: float
    peak_mb: float | None
    points: int


def kept(budget: Budget, spent: Spent) -> bool | None:
    """Whether a scan kept the limits of latency and memory; None where the memory is not known."""
    if budget.max_latency_ms is not None and spent.latency_ms > budget.max_latency_ms:
        return False
    return memory_kept(budget.max_memory_mb, spent.peak_mb)


def memory_kept(limit_mb: float | None, peak_mb: float | None) -> bool | None:
    """Whether a peak is within a limit; True without a limit, None for an unknown peak."""
    if limit_mb is None:
        return True
    return None if peak_mb is None else peak_mb <= limit_mb


def excesses(budget: Budget, spent: Spent, choice: Choice, usual: int) -> tuple[str, ...]:
    """One line for each limit that a scan broke: by how much, and why it may be.

    Args:
        budget: the limits.
        spent: what the scan took.
        choice: its engine.
        usual: points of the cloud that engines are measured with.
    """
    lines = []
    allowed = budget.max_latency_ms
    if allowed is not None and spent.latency_ms > allowed:
        lines.append(
            f"over budget: grouping and engine took {spent.latency_ms:.1f} ms, {allowed:g} are allowed; "
            + _why_slow(spent.points, choice, usual)
        )
    return (*lines, *memory_excess(budget.max_memory_mb, spent.peak_mb, spent.points))


def _why_slow(points: int, choice: Choice, usual: int) -> str:
    if points >= _LARGE * usual:
        return f"the scan has {points} points, engines are measured with {usual}"
    if not choice.met:
        return "no engine is known to keep within the budget"
    return "the device was slower than when the engine was measured"


def memory_excess(limit_mb: float | None, peak_mb: float | None, points: int) -> tuple[str, ...]:
    """The line of a peak above its limit, if it is."""
    if limit_mb is None or peak_mb is None or peak_mb <= limit_mb:
        return ()
    return (
        f"over budget: the process took {peak_mb:.0f} MiB, {limit_mb:g} are allowed; its peak so far "
        f"includes reading, here of {points} points",
    )
