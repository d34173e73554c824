"""Which commands exist, in the order `--help` shows them. A new command is one module and one line here."""

from __future__ import annotations

from importlib import import_module

import typer

_COMMANDS = (
    "inspect",
    "run",
    "distill",
    "export",
    "build",
    "evaluate",
    "finetune",
    "macs",
    "import_teacher",
    "pretrain",
    "bench",
    "bundle",
    "doctor",
)


def register(app: typer.Typer) -> None:
    """Add every command module's `register(app)` to the app."""
    for name in _COMMANDS:
        import_module(f"foundry_edge.cli.{name}").register(app)
