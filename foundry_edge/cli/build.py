"""`foundry-edge build [BUNDLE]`: plans ahead of time, by NVIDIA's compiler, on the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from foundry_edge.cli import options, output

if TYPE_CHECKING:
    from rich.progress import Progress

    from foundry_edge_export.tensorrt.report import BuildReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("build")(build)


def build(
    bundle: options.BundleArgument = None,
    backend: Annotated[
        str, typer.Option("--backend", metavar="B", help="Compiler: tensorrt or tensorrt-rtx.")
    ] = "tensorrt",
    tokens: Annotated[str, typer.Option(help="SuperToken budgets, e.g. 1,4 [default: all].")] = "",
    precision: Annotated[str, typer.Option(help="Precisions, e.g. fp16,int8 [default: all].")] = "",
    max_batch: Annotated[
        int, typer.Option("--max-batch", metavar="N", help="Plans take 1 to N clouds at a time.")
    ] = 1,
    ahead: Annotated[
        bool, typer.Option("--ahead", help="For any supported GPU, not the one here (tensorrt-rtx).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Build again what is there or was refused.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="S", help="Stop the compiler after S seconds for one rung.")
    ] = 3600.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 when a rung has no plan of its own.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Build engines of a bundle with TensorRT, ahead of time."""
    from foundry_edge import build as run
    from foundry_edge.cli.train_options import numbers

    with _progress() as progress:
        report = run(
            bundle,
            backend=backend,
            tokens=numbers(tokens, "--tokens") if tokens else (),
            precision=tuple(part.strip() for part in precision.split(",") if part.strip()),
            max_batch=max_batch,
            ahead=ahead,
            force=force,
            timeout=timeout,
            strict=strict,
            progress=progress,
        )
    if json:
        output.print_json(report.as_dict())
    else:
        _show(report)
    if not report.complete:
        raise typer.Exit(1)


class _Elapsed:
    """The rung being built and the time elapsed, on stderr; one plain line each where that is no terminal."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("looking for the compiler", total=None)

    def building(self, rung: str, last_seconds: float | None) -> None:
        """Show the rung and how long it took the last time."""
        known = (
            "not built here before" if last_seconds is None else f"took {last_seconds:.0f} s the last time"
        )
        self._step(f"building {rung} ({known})")

    def checking(self, rung: str) -> None:
        """Show the rung."""
        self._step(f"checking {rung}")

    def note(self, text: str) -> None:
        """Print a line."""
        output.notice(text)

    def _step(self, text: str) -> None:
        if self._bar.disable:
            output.notice(text)
        self._bar.reset(self._task, description=text, total=None)


@contextmanager
def _progress() -> Iterator[_Elapsed]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = output.stderr()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield _Elapsed(bar)


def _show(report: BuildReport) -> None:
    from rich.table import Table

    from foundry_edge_runtime.errors import printable

    console = output.stdout()
    title = f"{report.bundle.manifest.id} by {report.backend} {report.version} for {report.device.name}"
    console.print(printable(title), style="bold", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    table.add_column("rung")
    table.add_column("plan", justify="right")
    table.add_column("built in", justify="right")
    table.add_column("state")
    for one in report.rungs:
        made = one.manifest
        size = "" if made is None else f"{made.plan.bytes / 2**20:.1f} MiB"
        seconds = "" if made is None else f"{made.build_seconds:.1f} s"
        checked = "" if made is None else f" ({made.checked})"
        instead = f": {one.instead} takes its place" if one.instead else ""
        table.add_row(one.rung.name, size, seconds, f"{one.state}{checked}{instead}")
    output.print_figures(console, table)
    text = f"plans kept in {printable(report.folder)} ({report.seconds:.0f} s)"
    console.print(text, style="dim", soft_wrap=True, markup=False)
