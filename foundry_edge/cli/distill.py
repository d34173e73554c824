"""foundry-edge distill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import typer

from foundry_edge.cli import output
from foundry_edge.cli import student_options as student
from foundry_edge.cli import train_options as options
from foundry_edge.cli.next_step import next_for_model
from foundry_edge.cli.options import Json
from foundry_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from foundry_edge.training.distill import DistillReport

Query = Literal["located", "anchored", "cosine", "learned"]
QUERIES: tuple[Query, ...] = get_args(Query)
ROUTINGS: tuple[Literal["hard", "soft"], ...] = ("hard", "soft")
RESIDUALS: tuple[Literal["mapped", "update"], ...] = ("mapped", "update")
TOKENIZERS: tuple[Literal["full", "lite"], ...] = ("full", "lite")
Name = TypeVar("Name", bound=str)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(distill)


def distill(
    context: typer.Context,
    teacher: student.Teacher = "embedded:teacher",
    data: options.Data = None,
    teacher_features: student.TeacherFeatures = None,
    method: student.Method = "dso",
    tokens: student.Tokens = None,
    out: student.Out = Path("foundry-out/student"),
    query: student.Query = None,
    mixing_blocks: student.MixingBlocks = None,
    attention_blocks: student.AttentionBlocks = None,
    mlp_ratio: student.MlpRatio = None,
    depth: student.Depth = None,
    width: student.Width = None,
    heads: student.Heads = None,
    routing: student.Routing = None,
    residual: student.Residual = None,
    cau_mlp: student.CauMlp = None,
    tokenizer: student.Tokenizer = None,
    lite_width: student.LiteWidth = None,
    gate: student.Gate = False,
    merge_rate: student.MergeRate = None,
    freeze_encoder: student.FreezeEncoder = False,
    temperature: student.Temperature = "1,0.3",
    scenes: student.Scenes = None,
    start: student.Start = None,
    views: student.Views = 8,
    steps: student.Steps = 1500,
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

    settings = options.train_settings(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        precision=precision,
        accelerator=accelerator,
        seed=seed,
    )
    if scenes or start:
        from foundry_edge.cli.distill_scenes import continue_on_scenes

        continue_on_scenes(context, teacher, data, scenes, start, out, settings, resume, json_)
        return
    report = run(
        teacher,
        data,
        teacher_features=teacher_features,
        method=method,
        tokens=None if tokens is None else options.numbers(tokens, "--tokens"),
        out=out,
        query=_one_of(query, QUERIES, "--query"),
        mixing_blocks=mixing_blocks,
        attention_blocks=attention_blocks,
        mlp_ratio=mlp_ratio,
        depth=depth,
        width=width,
        heads=heads,
        routing=_one_of(routing, ROUTINGS, "--routing"),
        residual=_one_of(residual, RESIDUALS, "--residual"),
        cau_mlp=cau_mlp,
        tokenizer=_one_of(tokenizer, TOKENIZERS, "--tokenizer"),
        lite_width=lite_width,
        gate=gate or None,
        merge_rate=merge_rate,
        freeze_encoder=freeze_encoder,
        temperature=_pair(temperature, "--temperature"),
        views=views,
        settings=settings,
        resume=resume,
    )
    output.print_json(report.as_dict()) if json_ else _show(report)


def _one_of(value: str | None, known: tuple[Name, ...], flag: str) -> Name | None:
    if value is None:
        return None
    for name in known:
        if value == name:
            return name
    raise InputError(f"unknown value {value!r}", where=flag, remedy=f"use one of {', '.join(known)}")


def _pair(text: str, flag: str) -> tuple[float, float]:
    try:
        first, last = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"expected two numbers, got {text!r}", where=flag, remedy="for example 1,0.3"
        ) from None
    return first, last


def _show(report: DistillReport) -> None:
    from rich.table import Table

    table = Table(title=f"Agreement with the teacher on {report.held_out} held-out shapes")
    table.add_column("tokens", justify="right")
    columns = (
        "cosine before",
        "cosine after",
        "worst cloud",
        "Smooth L1 before",
        "Smooth L1 after",
        "in use",
    )
    for name in columns:
        table.add_column(name, justify="right")
    for row in report.budgets:
        cells = (row.before.cosine_mean, row.after.cosine_mean, row.after.cosine_worst)
        losses = (row.before.smooth_l1, row.after.smooth_l1)
        used = f"{row.usage['in_use']:.1f}" if row.usage else "-"
        table.add_row(str(row.tokens), *(f"{v:.4f}" for v in cells + losses), used)
    console = output.stdout()
    output.print_figures(console, table)
    console.print(
        f"Trained on {report.shapes} shapes of {', '.join(report.data)} in {report.seconds:.0f} s; "
        f"student in {report.out}.",
        highlight=False,
    )
    next_for_model(report.out, [row.tokens for row in report.budgets], exports=report.method == "dso")
