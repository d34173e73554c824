"""The command line. Each command is a thin skin over one public function of the same name.

Command modules import nothing heavy at the top, so `--help` stays fast; they import the function they
wrap when they run.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer

from foundry_edge.cli import commands
from foundry_edge.cli.output import escape_what_cannot_be_encoded
from foundry_edge_runtime.errors import FoundryEdgeError, printable

# The base of all usage errors; typer brings its own copy of click in some releases, click itself in others.
_UsageError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)

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
    """Entry point: errors become one line on stderr and the exit code of the command contract."""
    signal.signal(signal.SIGTERM, _terminated)
    escape_what_cannot_be_encoded()
    try:
        code = app(prog_name="foundry-edge", standalone_mode=False)
    except FoundryEdgeError as error:
        _fail(str(error), error.exit_code)
    except _UsageError as error:
        _usage(error)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # how typer and rich end when nobody reads on
            _drop_output()
            raise SystemExit(0) from None
        raise
    except OSError as error:
        _drop_output()
        _fail(printable(f"{error.filename or 'standard output'}: {error.strerror or error}"), 3)
    except MemoryError:
        _fail("out of memory; use smaller input or a machine with more", 3)
    raise SystemExit(code or 0)


def _drop_output() -> None:
    """Standard output cannot take more: what is buffered for it must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminated(*_: object) -> NoReturn:
    """End as after an error: what is half written is removed, what is whole stays."""
    raise SystemExit(143)


def _fail(line: str, code: int) -> NoReturn:
    print(f"foundry-edge: error: {line}", file=sys.stderr)  # noqa: T201
    raise SystemExit(code) from None


def _usage(error: Any) -> NoReturn:
    if error.format_message() and type(error).__name__ != "NoArgsIsHelpError":
        path = error.ctx.command_path if getattr(error, "ctx", None) else "foundry-edge"
        _fail(printable(f"{error.format_message().rstrip('.')}; see `{path} --help`"), 2)
    error.show()
    raise SystemExit(2)
