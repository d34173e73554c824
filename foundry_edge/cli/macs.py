"""foundry-edge macs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from foundry_edge.cli import output
from foundry_edge.cli.options import Json

if TYPE_CHECKING:
    from foundry_edge.measures.cost import CostReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(macs)


def macs(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A folder, embedded:teacher or embedded:student.")
    ] = "embedded:student",
    groups: Annotated[
        int | None,
        typer.Option(help="Groups to count with in place of the model's own, e.g. of a scene.", min=1),
    ] = None,
    json_: Json = False,
) -> None:
    """Count multiply-accumulates of one cloud, by stage and budget."""
    from foundry_edge import macs as count

    report = count(model, groups)
    output.print_json(report.as_dict()) if json_ else _show(report)


def _show(report: CostReport) -> None:
    from rich.table import Table

    table = Table(title=f"Million multiply-accumulates per cloud, {report.groups} groups")
    table.add_column("stage")
    for row in report.budgets:
        table.add_column("all tokens" if row.tokens is None else f"s = {row.tokens}", justify="right")
    for stage in report.budgets[0].macs:
        table.add_row(stage, *(f"{row.macs[stage] / 1e6:.1f}" for row in report.budgets))
    table.add_section()
    table.add_row("total", *(f"{row.total / 1e6:.1f}" for row in report.budgets), style="bold")
    table.add_row("MFLOPs", *(f"{row.flops / 1e6:.1f}" for row in report.budgets))
    shares = (f"{100 * row.total / report.teacher_total:.0f} %" for row in report.budgets)
    table.add_row("of the teacher", *shares)
    console = output.stdout()
    output.print_figures(console, table)
    console.print(
        f"{report.parameters / 1e6:.2f} million parameters. One multiply-accumulate is two FLOPs; products "
        "of attention count, additions, norms and activations do not.",
        highlight=False,
    )
