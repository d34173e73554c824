"""Tables in Markdown, for the documents that are drawn from results."""

from __future__ import annotations

import statistics
from collections.abc import Iterable


def cell(values: list[float], digits: int, scale: float = 1.0) -> str:
    """``mean`` or ``mean +- deviation``; a dash where there is nothing."""
    if not values:
        return "-"
    mean = f"{scale * statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {scale * statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
