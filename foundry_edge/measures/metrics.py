"""Metrics: a name and a value; over several seeds, also their deviation."""

from __future__ import annotations

import numpy as np

Metrics = dict[str, float]


def mean_and_deviation(name: str, values: list[float]) -> Metrics:
    """``name`` and, over several values, ``name_std`` (the sample standard deviation)."""
    found = {name: float(np.mean(values))}
    if len(values) > 1:
        found[f"{name}_std"] = float(np.std(values, ddof=1))
    return found
