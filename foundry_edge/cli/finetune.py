"""foundry-edge finetune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry_edge.cli import train_options as options
from foundry_edge.cli.next_step import next_for_model
from foundry_edge.cli.options import Json

if TYPE_CHECKING:
    from foundry_edge.training.finetune import FinetuneReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(finetune)


def finetune(
    student: Annotated[
        str, typer.Argument(help="Folder of a model, embedded:student or embedded:teacher.")
    ] = "embedded:student",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A data set in any known form. Default: the embedded samples."),
    ] = None,
    task: Annotated[str, typer.Option(help="classification or parts.")] = "classification",
    out: Annotated[Path, typer.Option(help="Folder for the model.")] = Path("foundry-out/finetuned"),
    tokens: Annotated[
        str | None, typer.Option("--tokens", metavar="N,...", help="Only these budgets [default: all].")
    ] = None,
    epochs: Annotated[
        float, typer.Option(help="Passes over the training side, frozen and thawed together.", min=0.01)
    ] = 30.0,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Train the head alone; the model stays as it is.")
    ] = False,
    views: Annotated[
        int,
        typer.Option(
            min=1,
            help="Clouds of each training shape: as it is, turned, as one camera sees it; 1: as it is.",
        ),
    ] = 4,
    hidden: Annotated[
        int | None,
        typer.Option(
            min=1, help="Channels of the head's hidden layer [default: no such layer; of parts 64]."
        ),
    ] = None,
    batch: options.Batch = 32,
    learning_rate: options.LearningRate = 3e-4,
    precision: options.TrainPrecision = "auto",
    accelerator: options.Accelerator = "auto",
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json: Json = False,
) -> None:
    """Fine-tune a student for classification or part segmentation, without its teacher."""
    from foundry_edge import finetune as run
    from foundry_edge.cli.output import print_json

    report = run(
        student,
        data,
        task,
        out=out,
        tokens=None if tokens is None else options.numbers(tokens, "--tokens"),
        epochs=epochs,
        frozen=frozen,
        views=views,
        hidden=hidden,
        settings=options.train_settings(
            batch=batch, learning_rate=learning_rate, precision=precision, accelerator=accelerator, seed=seed
        ),
        resume=resume,
    )
    print_json(report.as_dict()) if json else _show(report)


def _show(report: FinetuneReport) -> None:
    from rich.table import Table

    from foundry_edge.cli.output import print_figures, stdout
    from foundry_edge_runtime.errors import printable

    names = list(report.budgets[0].metrics)
    table = Table(title=f"{report.task} on {printable(report.data)}, {report.samples} test shapes, percent")
    table.add_column("SuperTokens", justify="right")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for row in report.budgets:
        table.add_row(str(row.tokens or "all"), *(f"{row.metrics[name]:.1f}" for name in names))
    console = stdout()
    print_figures(console, table)
    console.print(
        f"Trained on {report.shapes} shapes in {report.seconds:.0f} s; model in {printable(report.out)}.",
        highlight=False,
        markup=False,
    )
    next_for_model(report.out, [row.tokens for row in report.budgets])
