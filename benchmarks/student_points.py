"""What the student table measured: one point a method and budget, over all seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Point:
    """One method at one budget, over all its seeds."""

    run: str
    tokens: int | None
    rows: tuple[dict[str, Any], ...]

    def values(self, *keys: str) -> list[float]:
        """A figure of every seed; empty where the rows lack it."""
        found = []
        for row in self.rows:
            value: Any = row
            for key in keys:
                value = value.get(key, {}) if isinstance(value, dict) else {}
            if isinstance(value, (int, float)):
                found.append(float(value))
        return found

    def mean(self, *keys: str) -> float | None:
        """Mean over the seeds."""
        values = self.values(*keys)
        return statistics.fmean(values) if values else None


def load(folder: Path, teacher_sha256: str) -> tuple[list[Point], list[dict[str, Any]]]:
    """Points of one teacher in order of their Smooth L1, and the recipes found."""
    rows: dict[tuple[str, int | None], list[dict[str, Any]]] = {}
    recipes: list[dict[str, Any]] = []
    for path in sorted(folder.glob("student_*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["recipe"]["teacher_sha256"] != teacher_sha256:
            continue
        if record["recipe"] not in recipes:
            recipes.append(record["recipe"])
        for row in record["rows"]:
            rows.setdefault((row["run"], row["tokens"]), []).append(row)
    points = [Point(run, tokens, tuple(found)) for (run, tokens), found in rows.items()]
    return sorted(points, key=lambda p: (p.mean("smooth_l1") is None, p.mean("smooth_l1") or 0.0)), recipes


def macs(point: Point) -> float:
    """Multiply-accumulates of one cloud."""
    return point.mean("macs_total") or 0.0


def frontier(points: list[Point], price: Callable[[Point], float]) -> list[Point]:
    """The points for which nothing of the same price or less has a lower Smooth L1."""
    kept: list[Point] = []
    for p in sorted(points, key=lambda p: (price(p), p.mean("smooth_l1") or 0.0)):
        loss = p.mean("smooth_l1")
        if loss is not None and price(p) > 0 and all(loss < (q.mean("smooth_l1") or 0.0) for q in kept):
            kept.append(p)
    return kept
