"""The command line. Each command is a thin skin over one public function of the same name.

Command modules import nothing heavy at the top, so `--help` stays fast; they import the function they
wrap when they run.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from foundry_edge.cli import commands
from foundry_edge_runtime.errors import FoundryEdgeError

app = typer.Typer(
    name="foundry-edge",
    help="3D point-cloud foundation models on embedded GPUs: distil, export, run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"foundry-edge {version('foundry-edge')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """3D point-cloud foundation models on embedded GPUs: distil, export, run."""


commands.register(app)


def main() -> None:
    """Entry point: user errors become one line on stderr and the exit code of design.md."""
    try:
        app()
    except FoundryEdgeError as error:
        print(f"foundry-edge: error: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
