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


def judged_cell(metrics: list[dict[str, float]], metric: str, digits: int = 1) -> str:
    """Of several networks mean and deviation over them; of one, those over its trials or seeds."""
    values = [one[metric] for one in metrics if metric in one]
    deviation = metrics[0].get(f"{metric}_std") if len(values) == 1 else None
    return cell(values, digits) + (f" ± {deviation:.{digits}f}" if deviation else "")


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
