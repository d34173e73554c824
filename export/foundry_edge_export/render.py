"""An export report for people: rich tables."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from foundry_edge_export.cells import COLUMNS, TEXT, legend, part_lines, row
from foundry_edge_export.report import ExportReport


def render(report: ExportReport) -> Table:
    """One row per rung: size, cost, parity, fidelity to the teacher, accuracy, latency, gates."""
    record = report.as_dict()
    rungs = record["rungs"]
    caption = "\n".join([*legend(rungs), *part_lines(record["parts"])])
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", padding=(0, 1, 0, 0))
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in TEXT else "right", no_wrap=name != "gates")
    for rung in rungs:
        table.add_row(*row(rung))
    return table


def render_sensitivity(report: ExportReport) -> Table | None:
    """One row per block, what it loses alone in INT8; None when it was not measured."""
    if not report.sensitivity:
        return None
    caption = "one block alone in INT8: its share of the loss, and 1 - token cosine to fp32, mean over clouds"
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left")
    table.add_column("block")
    for name in report.sensitivity:
        table.add_column(name, justify="right")
    cells = {
        name: {loss.block: f"{100 * loss.share:.1f} %  {1 - loss.cosine_mean:.0e}" for loss in rows}
        for name, rows in report.sensitivity.items()
    }
    for block in next(iter(cells.values())):
        table.add_row(block, *(column.get(block, "-") for column in cells.values()))
    return table
