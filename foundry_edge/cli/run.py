"""`foundry-edge run SCAN|FOLDER|-`: the class and the features of a scan, within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from foundry_edge.cli import options

if TYPE_CHECKING:
    from foundry_edge_runtime.inspection import Failure
    from foundry_edge_runtime.result import Result


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    scan: Annotated[
        str,
        typer.Argument(
            metavar="SCAN|FOLDER|-",
            help="A scan, a folder of scans, or '-': a scan or a list of paths on standard input.",
        ),
    ],
    bundle: options.Bundle = None,
    max_latency_ms: options.MaxLatency = None,
    min_accuracy: options.MinAccuracy = None,
    max_memory_mb: options.MaxMemory = None,
    tokens: options.Tokens = None,
    precision: options.Precision = None,
    backend: options.Backend = None,
    strict: options.Strict = False,
    save: Annotated[
        str | None,
        typer.Option("--save", metavar="DIR", help="Write the features of each scan (npz) to DIR."),
    ] = None,
    salvage: options.Salvage = False,
    columns: options.Columns = None,
    topic: options.Topic = None,
    vertices: options.Vertices = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of sampling a mesh's surface.", min=0)] = 0,
    json: options.Json = False,
) -> None:
    """Name scans and compute their features, within a budget."""
    from foundry_edge.cli.output import notice
    from foundry_edge_runtime.inspection import Failure
    from foundry_edge_runtime.run import run as run_scans
    from foundry_edge_runtime.run import scans_of

    scans = scans_of(scan)
    results = run_scans(
        scans,
        bundle=bundle,
        max_latency_ms=max_latency_ms,
        min_accuracy=min_accuracy,
        max_memory_mb=max_memory_mb,
        tokens=tokens,
        precision=precision,
        backend=backend,
        strict=strict,
        save=save,
        salvage=salvage,
        columns=columns,
        topic=topic,
        vertices=vertices,
        seed=seed,
        notify=notice,
    )
    failed = 0
    with _shown(scans.many, json) as show:
        for result in results:
            show(result)
            failed += isinstance(result, Failure)
    if failed:
        raise typer.Exit(1)


@contextmanager
def _shown(many: bool, json: bool) -> Iterator[Callable[[Result | Failure], None]]:
    """What prints a result: JSON lines, or the report for people and its last line."""
    if json:
        from foundry_edge.cli.output import print_json

        yield lambda result: print_json(result.as_json())
        return
    from foundry_edge.cli.report import Report

    report = Report(many)
    yield report.show
    report.close()
