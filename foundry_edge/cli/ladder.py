"""The table of engines that `run`, `bench` and `bundle show` print."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from foundry_edge.cli.output import print_figures, room_for

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from foundry_edge_runtime.bundle import Manifest, Rung
    from foundry_edge_runtime.choice import Choice
    from foundry_edge_runtime.profile import EngineProfile, Profile

    Cell = Callable[[Rung, EngineProfile | None], str]

_NONE = "-"
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def size(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**20:.1f} MiB" if count >= 2**19 else f"{count / 2**10:.0f} KiB"


def _macs(rung: Rung, _: EngineProfile | None) -> str:
    total = sum(rung.macs.values())
    return next((f"{total / unit:.3g} {name}" for unit, name in _UNITS if total >= unit), str(total))


def _parity(rung: Rung, _: EngineProfile | None) -> str:
    """Largest difference to torch for FP32, mean cosine to the FP32 rung for the others."""
    if rung.precision == "fp32":
        return f"{rung.parity.max_abs:.0e}"
    return f"{rung.parity.cosine_mean:.4f}"


def _calibration(rung: Rung, _: EngineProfile | None) -> str:
    return _NONE if rung.calibration is None else f"{rung.calibration.method}, {rung.calibration.samples}"


_CELLS: dict[str, Cell] = {
    "size": lambda rung, _: size(rung.bytes),
    "MACs": _macs,
    "parity": _parity,
    "fidelity": lambda rung, _: f"{rung.fidelity.cosine_mean:.4f}" if rung.fidelity else _NONE,
    "accuracy": lambda rung, _: _NONE if rung.accuracy is None else f"{rung.accuracy.value:.1f} %",
    "calibration": _calibration,
    "grouping": lambda _, seen: _NONE if seen is None else f"{seen.group_ms.p50:.2f}",
    "engine": lambda _, seen: _NONE if seen is None else f"{seen.engine_ms.p50:.2f}",
    "p50 ms": lambda _, seen: _NONE if seen is None else f"{seen.total_ms.p50:.2f}",
    "p90 ms": lambda _, seen: _NONE if seen is None else f"{seen.total_ms.p90:.2f}",
    "p99 ms": lambda _, seen: _NONE if seen is None else f"{seen.total_ms.p99:.2f}",
    "backend": lambda _, seen: _NONE if seen is None else seen.backend,
    "batch": lambda _, seen: _NONE if seen is None else str(seen.batch),
    "clouds/s": lambda _, seen: _NONE if seen is None else f"{seen.clouds_per_second:.0f}",
    "memory": lambda _, seen: (
        _NONE if seen is None or seen.memory_mb is None else f"{seen.memory_mb:.0f} MiB"
    ),
}
SHOW = ("size", "MACs", "parity", "fidelity", "accuracy", "calibration")
BENCH = ("accuracy", "grouping", "engine", "p50 ms", "p90 ms", "p99 ms", "memory")
BATCHES = ("batch", "grouping", "engine", "p50 ms", "p90 ms", "clouds/s", "memory")
RUN = ("accuracy", "fidelity", "p50 ms", "p90 ms", "size")
_SPARE = ("calibration", "parity", "MACs", "grouping", "engine", "p99 ms", "size", "fidelity", "memory")
"""Columns that a narrow console does without, in this order."""


def print_ladder(
    console: Console,
    manifest: Manifest,
    profile: Profile,
    columns: tuple[str, ...],
    chosen: Choice | None = None,
) -> None:
    """Print the table; where the console is too narrow for it, whole columns are left out and named.

    Args:
        console: where to.
        manifest, profile, columns, chosen: see `ladder_table`.
    """
    table, without = ladder_table(manifest, profile, columns, chosen), list[str]()
    for spare in _SPARE:
        if room_for(console, table) <= console.width:
            break
        if any(column.header == spare for column in table.columns):
            columns = tuple(column for column in columns if column != spare)
            without.append(spare)
            table = ladder_table(manifest, profile, columns, chosen)
    print_figures(console, table)
    if without:
        console.print(f"no room for {', '.join(without)}: widen the terminal", style="dim")


def ladder_table(
    manifest: Manifest, profile: Profile, columns: tuple[str, ...], chosen: Choice | None = None
) -> Table:
    """One row for each engine: every rung, and each backend it was measured on.

    A column of which nothing is known is left out.

    Args:
        manifest: rungs.
        profile: what was measured here.
        columns: keys of the cells to show.
        chosen: its row is marked.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    rows = _rows(manifest, profile, batches="batch" in columns)
    cells = {column: [_CELLS[column](rung, seen) for rung, seen in rows] for column in columns}
    told = [column for column in columns if set(cells[column]) != {_NONE}]
    table.add_column("")
    table.add_column("tokens", no_wrap=True)
    for column in told:
        table.add_column(column, justify="right")
    for row, (rung, seen) in enumerate(rows):
        here = chosen is not None and chosen.rung == rung and (seen is None or seen.backend == chosen.backend)
        values = [cells[column][row] for column in told]
        name = _name(rung, None if "backend" in told else seen)
        table.add_row(">" if here else "", name, *values, style="bold green" if here else None)
    return table


def _rows(manifest: Manifest, profile: Profile, *, batches: bool) -> list[tuple[Rung, EngineProfile | None]]:
    rungs = sorted(manifest.rungs, key=lambda rung: (rung.precision, -rung.tokens, -rung.bypassed))
    measured = profile.all_of if batches else profile.measured
    return [(rung, seen) for rung in rungs for seen in measured(rung) or (None,)]


def _name(rung: Rung, seen: EngineProfile | None) -> str:
    forced = " (gate failed)" if rung.forced else ""
    backend = "" if seen is None or seen.backend == "onnxruntime" else f" on {seen.backend}"
    return f"{rung.encoded:>2} {rung.precision}{backend}{forced}"
