"""foundry-edge pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from foundry_edge.cli import output
from foundry_edge.cli import train_options as options
from foundry_edge.cli.next_step import next_step
from foundry_edge.cli.options import Json
from foundry_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from foundry_edge.training.pretrain import Name

OBJECTIVES = ("staged", "mae", "jepa")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(pretrain)


def pretrain(
    data: options.Data = None,
    out: Annotated[Path, typer.Option(help="Folder for the teacher.")] = Path("foundry-out/teacher"),
    objective: Annotated[
        str,
        typer.Option(
            help="staged (mae, then jepa; the better of the two by validation probes is kept; mae alone "
            "where no set has the labels for a probe), mae or jepa."
        ),
    ] = "staged",
    epochs: Annotated[
        float, typer.Option(help="Passes over the data, all stages together.", min=0.01)
    ] = 20.0,
    mae_share: Annotated[
        float, typer.Option(help="Share of the epochs for masked reconstruction when staged.", min=0, max=1)
    ] = 0.5,
    width: Annotated[int, typer.Option(help="Width d of a token.", min=8)] = 192,
    depth: Annotated[int, typer.Option(help="Transformer blocks.", min=1)] = 12,
    heads: Annotated[int, typer.Option(help="Attention heads.", min=1)] = 3,
    batch: options.Batch = 32,
    learning_rate: options.LearningRate = 5e-4,
    precision: options.TrainPrecision = "auto",
    accelerator: options.Accelerator = "auto",
    seed: options.Seed = 0,
    resume: options.Resume = False,
    json_: Json = False,
) -> None:
    """Pre-train a teacher without labels: masked reconstruction, then Point-JEPA."""
    from foundry_edge import pretrain as run

    if objective not in OBJECTIVES:
        raise InputError(
            f"unknown objective {objective!r}", where="--objective", remedy=f"use {', '.join(OBJECTIVES)}"
        )
    report = run(
        data,
        out,
        config=options.teacher_config(width=width, depth=depth, heads=heads),
        objective=cast("Name", objective),
        epochs=epochs,
        mae_share=mae_share,
        settings=options.train_settings(
            batch=batch, learning_rate=learning_rate, precision=precision, accelerator=accelerator, seed=seed
        ),
        resume=resume,
    )
    if json_:
        output.print_json(report.as_dict())
        return
    console = output.stdout()
    probes = (
        ", ".join(f"{name} {value:.1f} %" for name, value in report.probes.items())
        or f"none ({report.unprobed})"
    )
    console.print(
        f"Trained on {report.shapes} shapes in {report.seconds:.0f} s; the teacher after "
        f"{report.stage} is in {out}.",
        highlight=False,
    )
    console.print(f"Linear probe on a validation split of the training side: {probes}.", highlight=False)
    next_step("distill", "--teacher", out)
