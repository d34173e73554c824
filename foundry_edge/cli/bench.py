"""`foundry-edge bench [BUNDLE]`: measure every engine on this device and keep the profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from foundry_edge.cli import options

if TYPE_CHECKING:
    from foundry_edge_runtime.bench import Benchmark


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    bundle: options.BundleArgument = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            metavar="B",
            help="Backend to measure; repeat for several [default: the CPU, and what was built ahead].",
        ),
    ] = None,
    batch: Annotated[str, typer.Option("--batch", metavar="B,...", help="Clouds at a time, 1 to 32.")] = "1",
    json: options.Json = False,
) -> None:
    """Measure every engine on this device."""
    from foundry_edge.cli.output import notice, print_json, progress
    from foundry_edge.cli.train_options import numbers
    from foundry_edge_runtime.bench import bench as measure_all

    sizes = numbers(batch, "--batch")
    with progress("measuring") as advance:
        result = measure_all(bundle, backend=backend or None, batch=sizes, progress=advance, notify=notice)
    if json:
        print_json(result.as_json())
    else:
        _show(result)
    if result.profile.failures:
        raise typer.Exit(1)


def _show(result: Benchmark) -> None:
    from foundry_edge.cli.ladder import BATCHES, BENCH, print_ladder
    from foundry_edge.cli.output import stdout
    from foundry_edge_runtime.backends import DEFAULT
    from foundry_edge_runtime.bundle.manifest import rung_name
    from foundry_edge_runtime.errors import printable

    console, manifest = stdout(), result.bundle.manifest
    where = ", ".join(text for text in (result.profile.device["cpu"], result.profile.device["gpus"]) if text)
    title = f"{manifest.id} on {where}, {result.profile.device['cpus']} CPUs; times in ms"
    columns: tuple[str, ...] = BENCH if all(one.batch == 1 for one in result.profile.engines) else BATCHES
    if any(one.backend != DEFAULT for one in result.profile.engines):
        columns = ("backend", *columns)
    console.print(printable(title), style="bold", markup=False, soft_wrap=True)
    print_ladder(console, manifest, result.profile, columns)
    if any(one.gpu_grouping for one in result.profile.engines):
        console.print("where the GPU groups, that is part of the engine's time", style="dim")
    console.print(_board(result), style="dim", markup=False)
    console.print(f"profile kept in {printable(result.path)}", style="dim", soft_wrap=True, markup=False)
    for failure in result.profile.failures:
        name = rung_name(failure.tokens, failure.precision, failure.bypassed)
        reason = f"{name} on {failure.backend}: {failure.reason}"
        console.print(f"failed {printable(reason)}", style="red", soft_wrap=True, markup=False)


def _board(result: Benchmark) -> str:
    """The hottest the board got and the most it drew, as far as it tells."""
    engines = result.profile.engines
    parts = []
    for name, unit, values in (
        ("temperature", "C", [one.temperature_c for one in engines]),
        ("power", "W", [one.power_w for one in engines]),
    ):
        known = [value for value in values if value is not None]
        parts.append(f"{name} up to {max(known):.1f} {unit}" if known else f"{name} not available")
    return ", ".join(parts)
