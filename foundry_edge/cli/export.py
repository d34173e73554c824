"""foundry-edge export."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry_edge.cli import output
from foundry_edge.cli import train_options as train
from foundry_edge.cli.next_step import next_step
from foundry_edge.cli.options import Json

if TYPE_CHECKING:
    from rich.progress import Progress

    from foundry_edge_export.report import ExportReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    student: Annotated[
        str, typer.Argument(metavar="[STUDENT]", help="Student: a folder, or embedded:student.")
    ] = "foundry-out/student",
    tokens: Annotated[str, typer.Option(help="SuperToken budgets, e.g. 1,2,4,8,16.")] = "4",
    precision: Annotated[str, typer.Option(help="Precisions: fp32, fp16, int8, int8-fp16.")] = "int8",
    bypass: Annotated[
        str, typer.Option(metavar="K", help="Tokens that the student's gate lets past, e.g. 0,8.")
    ] = "0",
    out: Annotated[Path, typer.Option(help="Bundle to make, or to add to.")] = Path("foundry-out/bundle"),
    backend: Annotated[
        str, typer.Option(help="onnx, or tensorrt or tensorrt-rtx to build plans, too.")
    ] = "onnx",
    calibration_data: Annotated[
        str | None,
        typer.Option(
            metavar="D", help="Data set (.npz, its training side), scan or folder of scans for INT8."
        ),
    ] = None,
    calibration_method: Annotated[str, typer.Option(help="minmax, percentile, entropy or mse.")] = "mse",
    samples: Annotated[int, typer.Option(help="Calibration clouds.", min=1)] = 256,
    quantize: Annotated[
        str,
        typer.Option(
            help="Maps in INT8: all-linear, wide, after-assignment, encoder, or auto (wide, without the "
            "blocks that lose most, until the gates are met)."
        ),
    ] = "auto",
    keep_float: Annotated[
        str,
        typer.Option(
            "--keep-float",
            "--keep-fp16",
            metavar="NAMES",
            help="Modules left in float all the same (half in int8-fp16), e.g. blocks.1,cau_mlp.",
        ),
    ] = "",
    evaluation_data: Annotated[
        str | None, typer.Option(metavar="D", help="Data set (.npz) whose test side measures the rungs.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="The student's teacher: a folder, or embedded:teacher.")
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Also measure what each block alone loses in INT8.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Keep rungs that fail a gate, marked.")] = False,
    scene: Annotated[bool, typer.Option("--scene", help="Add the graphs that `run --scene` needs.")] = False,
    parts_data: Annotated[
        str | None,
        typer.Option(metavar="D", help="Data set whose test side measures the student's head for parts."),
    ] = None,
    seed: train.Seed = 0,
    json: Json = False,
) -> None:
    """Export a student into a bundle: ONNX graphs, measured and gated."""
    from foundry_edge import export as run

    with _progress(json) as progress:
        report = run(
            student,
            tokens=train.numbers(tokens, "--tokens"),
            bypass=train.numbers(bypass, "--bypass", zero=True),
            precision=_names(precision),
            out=out,
            backend=backend,
            calibration_data=calibration_data,
            calibration_method=calibration_method,
            samples=samples,
            quantize=quantize,
            keep_float=_names(keep_float),
            evaluation_data=evaluation_data,
            teacher=teacher,
            sensitivity=sensitivity,
            force=force,
            scene=scene,
            parts_data=parts_data,
            seed=seed,
            progress=progress,
        )
    _show(report, json)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


class _Bar:
    """Progress on stderr: rungs done and the current step on a terminal, notes and failures anywhere."""

    def __init__(self, bar: Progress, json: bool) -> None:
        self._bar, self._json = bar, json
        self._task = bar.add_task("starting", total=None)

    def step(self, text: str) -> None:
        """Show what is being done."""
        self._bar.update(self._task, description=text)

    def advance(self, done: int, of: int) -> None:
        """Show how many rungs are done."""
        self._bar.update(self._task, completed=done, total=of)

    def note(self, text: str) -> None:
        """Print a line."""
        output.notice(text)

    def failed(self, report: ExportReport) -> None:
        """Show the table of an export that keeps nothing."""
        self._bar.stop()
        _show(report, self._json)


@contextmanager
def _progress(json: bool) -> Iterator[_Bar]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    console = output.stderr()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield _Bar(bar, json)


def _show(report: ExportReport, json: bool) -> None:
    from foundry_edge_export.render import render, render_sensitivity

    if json:
        output.print_json(report.as_dict())
        return
    console = output.stdout()
    output.print_figures(console, render(report))
    blocks = render_sensitivity(report)
    if blocks is not None:
        output.print_figures(console, blocks)
    if report.kept:
        console.print(
            f"Bundle {report.bundle_id} in {report.bundle} ({report.seconds:.0f} s).", highlight=False
        )
        console.print("Figures and plots: report.html there.", highlight=False)
        _next(report.bundle)


def _next(bundle: Path) -> None:
    """`run`, which must be told of a bundle that it would not take by itself."""
    from foundry_edge_runtime.bundle import LOCAL, VARIABLE

    usual = bundle == LOCAL.absolute() and not os.environ.get(VARIABLE)
    next_step("run", "scan.pcd", *(() if usual else ("--bundle", bundle)))
