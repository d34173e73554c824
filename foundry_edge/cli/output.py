"""Where output goes: results to stdout, progress and notices to stderr, JSON one object per line."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_UNBOUNDED = 10_000


def escape_what_cannot_be_encoded() -> None:
    """Let stdout and stderr escape characters that their encoding lacks: names of files hold any."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object on one line of stdout; NaN and infinity are refused, not printed."""
    typer.echo(json.dumps(record, allow_nan=False))


def stdout() -> Console:
    """A rich console for results; where it is no terminal, lines are as long as they are."""
    from rich.console import Console

    console = Console(soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNBOUNDED
    return console


def print_figures(console: Console, table: Table) -> None:
    """Print a table of figures whole: one wider than the console is wrapped by the terminal, never cut."""
    width = console.width
    console.width = max(width, room_for(console, table))
    console.print(table)
    console.width = width


def room_for(console: Console, table: Table) -> int:
    """How wide a console has to be for a table whose figures, and whatever is ``no_wrap``, are not cut."""
    from rich.cells import cell_len

    for column in table.columns:
        if column.no_wrap or column.justify == "right":
            cells = [column.header, *column.cells]
            column.no_wrap, column.min_width = True, max(cell_len(str(cell)) for cell in cells)
    return console.measure(table, options=console.options.update_width(_UNBOUNDED)).minimum


def stderr() -> Console:
    """A rich console for progress and notices."""
    from rich.console import Console

    return Console(stderr=True)


def notice(text: str) -> None:
    """One line for people on stderr."""
    typer.echo(f"foundry-edge: {text}", err=True)


def counted(count: int, what: str) -> str:
    """A number and what is counted, in the plural but for one."""
    return f"{count} {what}{'s' * (count != 1)}"


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on stderr, gone when the block ends; nothing where stderr is no terminal.

    Args:
        what: the word before the bar.

    Yields:
        A function to call with how many are done, of how many, and the name of the next.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = stderr()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)

        def advance(done: int, of: int, name: str) -> None:
            bar.update(task, completed=done, total=of, description=f"{what} {name}")

        yield advance
