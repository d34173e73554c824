"""`foundry-edge distill --scenes`: continue a student on scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from foundry_edge.cli import output
from foundry_edge.cli.next_step import next_step
from foundry_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from foundry_edge.training.scene_distill import SceneReport
    from foundry_edge.training.settings import TrainSettings

_MEANT = {
    "teacher", "data", "scenes", "start", "out", "steps", "batch", "learning_rate", "precision",
    "accelerator", "seed", "resume", "json_",
}  # fmt: skip
"""Options that mean something with --scenes; what the student is was decided when it was made."""


def continue_on_scenes(
    context: typer.Context,
    teacher: str,
    data: list[Path] | None,
    scenes: Sequence[str] | None,
    start: str | None,
    out: Path,
    settings: TrainSettings,
    resume: bool,
    json: bool,
) -> None:
    """Run `distill_scenes` with the options of `distill` that mean something, and show what it did.

    Raises:
        InputError: another option was given, or ``--start`` alone.
    """
    from foundry_edge.training.scene_distill import distill_scenes

    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in _MEANT and source is not None and source.name == "COMMANDLINE":
            raise InputError("means nothing with --scenes", where=_flag(name), remedy="leave it out")
    if not scenes:
        raise InputError("continues a student on scenes", where="--start", remedy="add --scenes")
    usual = {"learning_rate": 1e-4, "batch": 16}
    usual = {name: value for name, value in usual.items() if _is_default(context, name)}
    report = distill_scenes(
        start or "embedded:student",
        teacher,
        scenes,
        data=data,
        out=out,
        settings=settings.model_copy(update=usual),
        resume=resume,
    )
    output.print_json(report.as_dict()) if json else _show(report)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _is_default(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT"


def _show(report: SceneReport) -> None:
    from rich.table import Table

    table = Table(title=f"Agreement with the teacher on {len(report.held_out)} held-out scenes")
    for name in ("groups", "tokens", "cosine before", "cosine after", "Smooth L1 before", "Smooth L1 after"):
        table.add_column(name, justify="right")
    for row in report.results:
        cosines, losses = (
            [f"{getattr(one, name):.4f}" for one in (row.before, row.after)]
            for name in ("cosine_mean", "smooth_l1")
        )
        groups = str(row.groups) if row.groups else "objects"
        table.add_row(groups, str(row.tokens), *cosines, *losses)
    console = output.stdout()
    output.print_figures(console, table)
    console.print(
        f"Trained on {report.cuts} cuts of {len(report.scenes)} scenes in {report.seconds:.0f} s; "
        f"student in {report.out}.",
        highlight=False,
    )
    next_step("export", report.out, "--scene")
