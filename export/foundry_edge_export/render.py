"""An export report for people: a rich table."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from foundry_edge_export.draft import Draft
from foundry_edge_export.report import ExportReport

_COLUMNS = ("rung", "size MB", "MMACs", "parity", "teacher", "accuracy", "gates")
_LEFT = frozenset({"rung", "parity", "gates"})


def render(report: ExportReport) -> Table:
    """One row per rung: size, cost, parity, fidelity to the teacher, accuracy, gates; 80 columns wide."""
    table = Table(box=SIMPLE_HEAD, caption=_caption(report), caption_justify="left", padding=(0, 1, 0, 0))
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=name != "gates")
    for draft in report.rungs:
        table.add_row(*_row(draft, report.sizes))
    return table


def render_sensitivity(report: ExportReport) -> Table | None:
    """One row per block, what it loses alone in INT8; None when it was not measured."""
    if not report.sensitivity:
        return None
    table = Table(box=SIMPLE_HEAD, caption="token cosine to fp32, mean / worst cloud, one block in INT8")
    table.add_column("block")
    for name in report.sensitivity:
        table.add_column(name, justify="right")
    cells = {
        name: {loss.block: f"{loss.cosine_mean:.5f} / {loss.cosine_worst:.4f}" for loss in rows}
        for name, rows in report.sensitivity.items()
    }
    for block in next(iter(cells.values())):
        table.add_row(block, *(column[block] for column in cells.values()))
    return table


def _row(draft: Draft, sizes: dict[str, int]) -> tuple[str, ...]:
    return (
        draft.name,
        f"{_megabytes(sizes.get(draft.name))} + {_megabytes(sizes.get(draft.precision))}" if sizes else "-",
        f"{sum(draft.macs.values()) / 1e6:.0f}",
        _parity(draft),
        f"{draft.fidelity.cosine_mean:.4f}" if draft.fidelity else "-",
        f"{draft.accuracy.value:.1f} %" if draft.accuracy else "-",
        _gates(draft),
    )


def _parity(draft: Draft) -> str:
    parity = draft.parity
    if draft.precision == "fp32":
        return f"{parity.max_abs:.1e}"
    return f"{parity.cosine_mean:.5f} / {parity.cosine_worst:.4f}"


def _gates(draft: Draft) -> str:
    failed = [name for name, passed in draft.gates.items() if not passed]
    return f"failed: {', '.join(failed)}" if failed else "passed"


def _megabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 1e6:.1f}"


def _caption(report: ExportReport) -> str:
    lines = [
        "size: graph + weights file, which all rungs of a precision share",
        "parity: fp32, largest difference from torch; others, cosine to fp32, mean / worst cloud",
    ]
    fidelity = next((d.fidelity for d in report.rungs if d.fidelity), None)
    accuracy = next((d.accuracy for d in report.rungs if d.accuracy), None)
    if fidelity:
        lines.append(f"teacher: mean token cosine to it, {fidelity.samples} clouds of {fidelity.data}")
    if accuracy:
        lines.append(f"accuracy: of the head, {accuracy.samples} clouds of {accuracy.data}")
    return "\n".join(lines)
