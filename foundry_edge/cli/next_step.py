"""The last line of a command: what to run next, with the very paths that it wrote to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import typer

from foundry_edge_runtime.errors import printable

_USUAL_TOKENS = 4


def next_step(*words: object) -> None:
    """Print a command of foundry-edge on one line, quoted for a shell."""
    command = shlex.join(["foundry-edge", *map(str, words)])
    typer.echo(printable(f"Next: {command}"))


def next_for_model(model: Path, budgets: Sequence[int | None], *, exports: bool = True) -> None:
    """Export a student, or evaluate what has no exported form.

    Args:
        model: its folder.
        budgets: SuperTokens that it was trained for; a model without has no exported form.
        exports: whether its method has one.
    """
    known = [count for count in budgets if count]
    if exports and known:
        next_step("export", model, "--tokens", _USUAL_TOKENS if _USUAL_TOKENS in known else known[-1])
    else:
        next_step("evaluate", model)
