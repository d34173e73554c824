"""Where output goes: results to stdout, progress and notices to stderr, JSON one object per line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object on one line of stdout; NaN and infinity are refused, not printed."""
    typer.echo(json.dumps(record, allow_nan=False))


def stdout() -> Console:
    """A rich console for results."""
    from rich.console import Console

    return Console(soft_wrap=False)


def stderr() -> Console:
    """A rich console for progress and notices."""
    from rich.console import Console

    return Console(stderr=True)
