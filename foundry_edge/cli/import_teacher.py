"""foundry-edge import-teacher."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from foundry_edge.cli import output
from foundry_edge.cli.next_step import next_step
from foundry_edge.cli.options import Json
from foundry_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from foundry_edge.teachers.importing import ImportReport
    from foundry_edge.teachers.orientation import Up

UPS = ("y", "z")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(import_teacher)


def import_teacher(
    checkpoint: Annotated[Path, typer.Argument(metavar="CKPT", help="A published .ckpt or .pth file.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the teacher; a model there is moved to its folder previous.")
    ] = Path("foundry-out/teacher"),
    heads: Annotated[
        int | None, typer.Option(help="Attention heads, where the file does not say.", min=1)
    ] = None,
    points: Annotated[
        int | None, typer.Option(help="Points N per cloud [default: the file's, or 1024].", min=1)
    ] = None,
    groups: Annotated[int | None, typer.Option(help="Groups c [default: the file's, or 64].", min=1)] = None,
    group_size: Annotated[
        int | None, typer.Option(help="Points K per group [default: the file's, or 32].", min=1)
    ] = None,
    up: Annotated[
        str,
        typer.Option(
            help="y: it was trained with +y up (ShapeNet) and is turned to z-up data; z: it is not."
        ),
    ] = "z",
    json_: Json = False,
) -> None:
    """Convert a published checkpoint (Point-JEPA, point2vec, Point-MAE, Point-BERT) to a teacher folder."""
    from foundry_edge import import_teacher as run

    if up not in UPS:
        raise InputError(f"unknown axis {up!r}", where="--up", remedy="use y or z")
    report = run(
        checkpoint,
        out,
        heads=heads,
        points=points,
        groups=groups,
        group_size=group_size,
        up=cast("Up", up),
    )
    for warning in report.warnings:
        output.notice(f"{checkpoint}: {warning}")
    output.print_json(report.as_dict()) if json_ else _show(report)


def _show(report: ImportReport) -> None:
    config, spec = report.config, report.config.preprocessing
    console = output.stdout()
    lines = [
        f"{report.kind} teacher: width {config.width}, depth {config.depth}, heads {config.heads}; "
        f"{spec.points} points in {spec.groups} groups of {spec.group_size}.",
        f"{len(report.matched)} tensors matched, {len(report.missing)} missing, "
        f"{len(report.unexpected)} unexpected{_by_part(report.unexpected)}.",
        f"Teacher in {report.out}.",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False)
    next_step("distill", "--teacher", report.out)


def _by_part(names: tuple[str, ...]) -> str:
    counts = Counter(name.partition(".")[0] for name in names)
    listed = ", ".join(f"{part} {count}" for part, count in counts.items())
    return f" and left out ({listed})" if listed else ""
