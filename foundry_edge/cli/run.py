"""`foundry-edge run SCAN|FOLDER|URI|-`: the class and the features of a scan, within a budget."""

from __future__ import annotations

from typing import Any

import typer

from foundry_edge.cli import options as bundle_options
from foundry_edge.cli import run_options as options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    scan: options.Scan,
    bundle: bundle_options.Bundle = None,
    max_latency_ms: bundle_options.MaxLatency = None,
    min_accuracy: bundle_options.MinAccuracy = None,
    max_memory_mb: bundle_options.MaxMemory = None,
    tokens: bundle_options.Tokens = None,
    precision: bundle_options.Precision = None,
    backend: bundle_options.Backend = None,
    strict: bundle_options.Strict = False,
    scene: options.Scene = False,
    parts: options.Parts = False,
    category: options.Category = None,
    adaptive: options.Adaptive = False,
    batch: options.Batch = "1",
    workers: options.Workers = 1,
    isolate: options.Isolate = False,
    cluster: options.Cluster = None,
    watch: options.Watch = False,
    ledger: options.Ledger = None,
    save: options.Save = None,
    per_point: options.PerPoint = False,
    viz: options.Viz = None,
    salvage: bundle_options.Salvage = False,
    columns: bundle_options.Columns = None,
    topic: bundle_options.Topic = None,
    vertices: bundle_options.Vertices = False,
    seed: options.Seed = 0,
    json: bundle_options.Json = False,
    log_json: options.LogJson = False,
) -> None:
    """Name scans and compute their features, within a budget."""
    from foundry_edge.cli.logs import logging_to

    shared: dict[str, Any] = {
        "bundle": bundle,
        "tokens": tokens,
        "max_memory_mb": max_memory_mb,
        "backend": backend,
        "save": save,
        "per_point": per_point,
        "salvage": salvage,
        "columns": columns,
        "topic": topic,
        "vertices": vertices,
        "seed": seed,
    }
    if scene:
        from foundry_edge.cli.scene import Unlike, show_scenes

        unlike: Unlike = {
            "--max-latency-ms": max_latency_ms,
            "--min-accuracy": min_accuracy,
            "--precision": None if precision is not None and precision.lower() == "fp32" else precision,
            "--parts": parts,
            "--category": category,
            "--adaptive": adaptive,
            "--batch": None if batch == "1" else batch,
            "--workers": None if workers == 1 else workers,
            "--isolate": isolate,
            "--cluster": cluster,
            "--watch": watch,
            "--ledger": ledger,
            "--viz": viz,
        }
        with logging_to(log_json) as log:
            code = show_scenes(scan, log, unlike=unlike, strict=strict, json=json, **shared)
        if code:
            raise typer.Exit(code)
        return
    from foundry_edge.cli.stream import show_all
    from foundry_edge_runtime.run import run as run_scans
    from foundry_edge_runtime.run import scans_of

    with logging_to(log_json) as log:
        scans = scans_of(scan, watch=watch)
        running = run_scans(
            scans,
            **shared,
            max_latency_ms=max_latency_ms,
            min_accuracy=min_accuracy,
            precision=precision,
            strict=strict,
            parts=parts,
            category=category,
            adaptive=adaptive,
            batch=batch,
            workers=workers,
            isolate=isolate,
            cluster=cluster,
            watch=watch,
            ledger=ledger,
            viz=viz,
            notify=log.notice,
        )
        code = show_all(running, log, many=scans.many, json=json, strict=strict)
    if code:
        raise typer.Exit(code)
