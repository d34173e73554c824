"""`foundry-edge run SCAN|FOLDER|-`: the class and the features of a scan, within a budget."""

from __future__ import annotations

from typing import Annotated

import typer

from foundry_edge.cli import options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    scan: Annotated[
        str,
        typer.Argument(
            metavar="SCAN|FOLDER|-",
            help="A scan, a folder, a bag, ros2:/topic, or '-': a scan or a list of paths on standard input.",
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
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Hold --max-latency-ms under load by switching engines.")
    ] = False,
    batch: Annotated[
        str, typer.Option("--batch", metavar="auto|N", help="Scans to put through the engine at once.")
    ] = "1",
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Processes that compute.")] = 1,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="A scan that takes its process down is one failure.")
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", metavar="auto|ADDRESS", help="Compute on a Ray cluster, with --workers actors."
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Of a folder: wait for more scans, until a signal.")
    ] = False,
    ledger: Annotated[
        str | None,
        typer.Option(
            "--ledger",
            metavar="FILE",
            help="Keep the record of each finished scan in FILE, and pass over those in it.",
        ),
    ] = None,
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="DIR|FILE.parquet",
            help="Write features: an npz file for each scan, or one Parquet file.",
        ),
    ] = None,
    per_point: Annotated[
        bool,
        typer.Option("--per-point", help="With --save DIR: features and colours of every point (npy, PLY)."),
    ] = False,
    viz: Annotated[
        str | None,
        typer.Option(
            "--viz", metavar="FILE", help="Draw the scan, coloured by feature and by group (.png or .html)."
        ),
    ] = None,
    salvage: options.Salvage = False,
    columns: options.Columns = None,
    topic: options.Topic = None,
    vertices: options.Vertices = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of sampling a mesh's surface.", min=0)] = 0,
    json: options.Json = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Logs on standard error as JSON, one object a line.")
    ] = False,
) -> None:
    """Name scans and compute their features, within a budget."""
    from foundry_edge.cli.logs import logging_to
    from foundry_edge.cli.stream import show_all
    from foundry_edge_runtime.run import run as run_scans
    from foundry_edge_runtime.run import scans_of

    with logging_to(log_json) as log:
        scans = scans_of(scan, watch=watch)
        running = run_scans(
            scans,
            bundle=bundle,
            max_latency_ms=max_latency_ms,
            min_accuracy=min_accuracy,
            max_memory_mb=max_memory_mb,
            tokens=tokens,
            precision=precision,
            backend=backend,
            strict=strict,
            adaptive=adaptive,
            batch=batch,
            workers=workers,
            isolate=isolate,
            cluster=cluster,
            watch=watch,
            ledger=ledger,
            save=save,
            per_point=per_point,
            viz=viz,
            salvage=salvage,
            columns=columns,
            topic=topic,
            vertices=vertices,
            seed=seed,
            notify=log.notice,
        )
        code = show_all(running, log, many=scans.many, json=json)
    if code:
        raise typer.Exit(code)
