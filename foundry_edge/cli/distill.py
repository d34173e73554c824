"""foundry-edge distill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from foundry_edge.cli import output
from foundry_edge.cli import train_options as options
from foundry_edge.cli.options import Json
from foundry_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from foundry_edge.models.config import Query
    from foundry_edge.training.distill import DistillReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(distill)


def distill(
    teacher: Annotated[
        str, typer.Option(help="Teacher: a folder, or embedded:teacher.")
    ] = "embedded:teacher",
    data: options.Data = None,
    tokens: Annotated[str, typer.Option(help="SuperToken budgets of the elastic student.")] = "1,2,4,8,16",
    out: Annotated[Path, typer.Option(help="Folder for the student.")] = Path("foundry-out/student"),
    query: Annotated[str, typer.Option(help="DSO queries: anchored, or learned (the paper's).")] = "anchored",
    views: Annotated[
        int, typer.Option(help="Cached views per shape, augmented but for the first.", min=1)
    ] = 8,
    steps: Annotated[int, typer.Option(help="Training steps.", min=1)] = 1500,
    batch: options.Batch = 64,
    learning_rate: options.LearningRate = 1e-3,
    precision: options.TrainPrecision = "auto",
    accelerator: options.Accelerator = "auto",
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json_: Json = False,
) -> None:
    """Distil a teacher into one SuperToken student that serves every budget."""
    from foundry_edge import distill as run

    if query not in ("anchored", "learned"):
        raise InputError(f"unknown query {query!r}", where="--query", remedy="use anchored or learned")
    report = run(
        teacher,
        data,
        tokens=options.numbers(tokens, "--tokens"),
        out=out,
        query=cast("Query", query),
        views=views,
        settings=options.train_settings(
            steps=steps,
            batch=batch,
            learning_rate=learning_rate,
            precision=precision,
            accelerator=accelerator,
            seed=seed,
        ),
        resume=resume,
    )
    output.print_json(report.as_dict()) if json_ else _show(report)


def _show(report: DistillReport) -> None:
    from rich.table import Table

    table = Table(title=f"Agreement with the teacher on {report.held_out} held-out shapes")
    table.add_column("SuperTokens", justify="right")
    for name in ("cosine before", "cosine after", "worst cloud", "Smooth L1 before", "Smooth L1 after"):
        table.add_column(name, justify="right")
    for row in report.budgets:
        cells = (row.before.cosine_mean, row.after.cosine_mean, row.after.cosine_worst)
        losses = (row.before.smooth_l1, row.after.smooth_l1)
        table.add_row(str(row.tokens), *(f"{v:.4f}" for v in cells + losses))
    console = output.stdout()
    console.print(table)
    console.print(
        f"Trained on {report.shapes} shapes of {', '.join(report.data)} in {report.seconds:.0f} s; "
        f"student in {report.out}.",
        highlight=False,
    )
    console.print("Next: foundry-edge export --precision int8 --tokens 4", highlight=False)
