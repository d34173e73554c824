"""The plots of an export report, from its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from foundry_edge_export.cells import Record
from foundry_edge_export.chart import COLOURS, Series, bar_chart, line_chart
from foundry_edge_export.precisions import PRECISIONS
from foundry_edge_export.spread import BINS, DECADES, PER_DECADE

_TARGETS = {"fp32": "token cosines to the FP32 rung", "teacher": "token cosines to the teacher"}


def plots(record: Record) -> list[str]:
    """SVG of every plot that the record has the figures for."""
    rungs = record["rungs"]
    made = _frontiers(rungs)
    made += [_sensitivity(name, losses) for name, losses in record["sensitivity"].items()]
    made += [_spread(rungs, target) for target in _TARGETS if any(target in r["spreads"] for r in rungs)]
    return made


def _frontiers(rungs: Sequence[Record]) -> list[str]:
    """Quality against cost: multiply-accumulates, and latency of what is made for CPUs too."""
    quality = next((name for name in ("accuracy", "fidelity") if all(r[name] for r in rungs)), None)
    if quality is None:
        return []
    costs: list[tuple[str, str, Callable[[Record], float]]] = [
        ("multiply-accumulates", "million multiply-accumulates", lambda r: sum(r["macs"].values()) / 1e6)
    ]
    if any(rung["cpu_ms"] for rung in rungs):
        costs.append(("CPU latency", "ms for one cloud, median", lambda r: float(r["cpu_ms"]["p50"])))
    found = []
    for name, unit, cost in costs:
        shown = [rung for rung in rungs if name != "CPU latency" or rung["cpu_ms"]]
        series = [_line(precision, shown, cost, quality) for precision in PRECISIONS]
        drawn = [one for one in series if one.points]
        title = f"{'accuracy of the head' if quality == 'accuracy' else 'cosine to the teacher'} and {name}"
        if drawn:
            found.append(line_chart(title, unit, "%" if quality == "accuracy" else "cosine", drawn))
    return found


def _line(precision: str, rungs: Sequence[Record], cost: Callable[[Record], float], quality: str) -> Series:
    alike = [rung for rung in rungs if rung["precision"] == precision]
    field = "value" if quality == "accuracy" else "cosine_mean"
    points = tuple((cost(rung), float(rung[quality][field])) for rung in alike)
    labels = tuple(rung["name"].partition("-")[0] for rung in alike)
    return Series(precision, COLOURS[PRECISIONS.index(precision)], points, labels)


def _sensitivity(budget: str, losses: Sequence[dict[str, Any]]) -> str:
    bars = [
        (loss["block"], loss["share"], f"{100 * loss['share']:.1f} %  {loss['cosine_mean']:.5f}")
        for loss in losses
    ]
    return bar_chart(f"{budget}: share of the INT8 loss by block, and its cosine alone", bars)


def _spread(rungs: Sequence[Record], target: str) -> str:
    known = [rung for rung in rungs if target in rung["spreads"]]
    series = [
        Series(rung["name"], COLOURS[number % len(COLOURS)], _steps(rung["spreads"][target]))
        for number, rung in enumerate(_few(known))
    ]
    decades = [(float(number), "1" if number == 0 else f"1e-{number}") for number in range(DECADES + 1)]
    return line_chart(_TARGETS[target], "1 - cosine", "% of the tokens", series, decades)


def _few(rungs: Sequence[Record]) -> list[Record]:
    """As many as there are colours: the fewest and the most tokens of each precision, then what fits."""
    ends = [
        alike[i]
        for precision in PRECISIONS
        if (alike := [rung for rung in rungs if rung["precision"] == precision])
        for i in ((0, -1) if len(alike) > 1 else (0,))
    ]
    return [rung for rung in rungs if rung in ends][: len(COLOURS)]


def _steps(counts: Sequence[int]) -> tuple[tuple[float, float], ...]:
    """The outline of a histogram."""
    total = max(sum(counts), 1)
    corners = [(0.0, 0.0)]
    for number in range(BINS):
        share = 100 * counts[number] / total
        corners += [(number / PER_DECADE, share), ((number + 1) / PER_DECADE, share)]
    return (*corners, (float(DECADES), 0.0))
