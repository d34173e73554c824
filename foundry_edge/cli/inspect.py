"""`foundry-edge inspect SCAN...`: read and validate, no engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from foundry_edge.cli import options
from foundry_edge.cli.output import notice

if TYPE_CHECKING:
    from rich.console import Console

    from foundry_edge_runtime.inspection import Failure, Inspection


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect")(inspect)


def inspect(
    scans: Annotated[
        list[str],
        typer.Argument(metavar="SCAN...", help="Files, folders (searched recursively), URIs, or '-'."),
    ],
    salvage: options.Salvage = False,
    columns: options.Columns = None,
    topic: options.Topic = None,
    vertices: options.Vertices = True,
    json: options.Json = False,
) -> None:
    """Read and validate scans: points, fields, bounds, and what was dropped and why."""
    from foundry_edge_runtime.inspection import are_many, inspect_all
    from foundry_edge_runtime.inspection import inspect as inspect_one
    from foundry_edge_runtime.relay import relayed

    if are_many(scans):
        with relayed(notice):
            _many(inspect_all(scans, salvage=salvage, columns=columns, topic=topic, vertices=vertices), json)
        return
    result = inspect_one(scans[0], salvage=salvage, columns=columns, topic=topic, vertices=vertices)
    if json:
        from foundry_edge.cli.output import print_json

        print_json(result.as_json())
    else:
        from foundry_edge.cli.output import stdout

        _show(stdout(), result)


def _many(results: Iterator[Inspection | Failure], json: bool) -> None:
    from foundry_edge.cli.output import counted, print_json
    from foundry_edge_runtime.errors import printable
    from foundry_edge_runtime.inspection import Failure

    good = bad = 0
    for result in results:
        failed = isinstance(result, Failure)
        good, bad = good + (not failed), bad + failed
        if json:
            print_json(result.as_json())
        else:
            typer.echo("\n".join(printable(line) for line in _lines(result)))
    print(f"{counted(good, 'scan')} read, {bad} failed", file=sys.stderr)  # noqa: T201
    if bad:
        raise typer.Exit(1)


def _lines(result: Inspection | Failure) -> list[str]:
    """One line for a scan, and one for each of its warnings."""
    from foundry_edge.cli.output import counted
    from foundry_edge_runtime.inspection import Failure

    if isinstance(result, Failure):
        return [f"FAILED  {result.error}"]
    dropped = f", {result.read - result.valid} dropped" if result.read > result.valid else ""
    warned = f", {counted(len(result.warnings), 'warning')}" if result.warnings else ""
    about = f"{result.format}, {counted(result.valid, 'point')}{dropped}{warned}"
    return [f"ok      {result.input}: {about}", *(f"        warning: {line}" for line in result.warnings)]


def _show(console: Console, result: Inspection) -> None:
    from rich.table import Table
    from rich.text import Text

    from foundry_edge_runtime.errors import printable

    console.print(Text(printable(result.input), style="table.title"), soft_wrap=True)
    table = Table(show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for label, value in _rows(result):
        table.add_row(label, Text(printable(value)))
    console.print(table)


def _rows(result: Inspection) -> list[tuple[str, str]]:
    dropped = ", ".join(f"{count} {why.replace('_', ' ')}" for why, count in result.dropped.items() if count)
    rows = [
        ("format", result.format),
        ("fields", " ".join(result.fields)),
        ("points read", str(result.read)),
        ("points valid", str(result.valid)),
        ("dropped", dropped or "none"),
        ("lower bound", " ".join(f"{v:.9g}" for v in result.bounds.min)),
        ("upper bound", " ".join(f"{v:.9g}" for v in result.bounds.max)),
        ("size", " ".join(f"{b - a:.6g}" for a, b in zip(result.bounds.min, result.bounds.max, strict=True))),
    ]
    if result.scans > 1:
        rows.insert(1, ("scans", str(result.scans)))
    rows += [(f"attribute {name}", kind) for name, kind in result.attributes.items()]
    return rows + [("warning", line) for line in result.warnings]
