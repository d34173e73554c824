"""foundry-edge evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry_edge.cli import options
from foundry_edge.cli.train_options import numbers

if TYPE_CHECKING:
    from foundry_edge.evaluation.summary import EvaluationReport


_ONLY_IN_JSON = ("_std", "present_miou", "point_accuracy", "strength")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of a model or bundle; published .ckpt or .pth; "
            "embedded:teacher, embedded:student, embedded:bundle."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A data set in any known form. Default: the embedded samples."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="probe, svm, fewshot, finetune, parts or fidelity.")
    ] = "probe",
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="N,...", help="Only these budgets [default: all].")
    ] = None,
    precision: options.Precision = None,
    seeds: Annotated[
        str, typer.Option(metavar="N,...", help="Figures are means over these seeds.")
    ] = "0,1,2",
    teacher: Annotated[
        str | None, typer.Option(help="For fidelity: the teacher, when it is not the embedded one.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the training side in finetune and parts.", min=0.01)
    ] = None,
    backend: Annotated[
        str, typer.Option("--backend", metavar="B", help="That runs a bundle's engines.")
    ] = "onnxruntime",
    json: options.Json = False,
) -> None:
    """Judge a teacher, a student at every budget, a baseline or a bundle's engines on a task."""
    from foundry_edge import evaluate as run
    from foundry_edge.cli.output import print_json, progress

    with progress("evaluating") as advance:
        report = run(
            model,
            data,
            protocol,
            tokens=None if tokens is None else numbers(tokens, "--tokens"),
            precision=precision,
            seeds=_seeds(seeds),
            teacher=teacher,
            epochs=epochs,
            backend=backend,
            progress=advance,
        )
    print_json(report.as_dict()) if json else _show(report)


def _seeds(text: str) -> tuple[int, ...]:
    from foundry_edge_runtime.errors import InputError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"expected whole numbers, got {text!r}", where="--seeds", remedy="for example 0,1,2"
        ) from None


def _show(report: EvaluationReport) -> None:
    from rich.table import Table

    from foundry_edge.cli.output import print_figures, stdout
    from foundry_edge_runtime.errors import printable

    seeds = ", ".join(map(str, report.seeds))
    console = stdout()
    title = f"{report.protocol}: {report.model} on {report.data}, {report.samples} test shapes, seeds {seeds}"
    console.print(printable(title), style="bold", markup=False, soft_wrap=True)
    names = [name for name in report.rungs[0].metrics if not name.endswith(_ONLY_IN_JSON)]
    table = Table()
    table.add_column("rung", no_wrap=True)
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for rung in report.rungs:
        cells = [_cell(rung.metrics, name) for name in names]
        table.add_row(rung.name, *cells)
    print_figures(console, table)


def _cell(metrics: dict[str, float], name: str) -> str:
    digits = 1 if metrics[name] > 1.5 else 4
    text = f"{metrics[name]:.{digits}f}"
    deviation = metrics.get(f"{name}_std")
    return text if deviation is None else f"{text}±{deviation:.{digits}f}"
