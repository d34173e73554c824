"""`foundry-edge doctor`: what is installed, what works, and where things are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from foundry_edge.cli import options

if TYPE_CHECKING:
    from foundry_edge_runtime.doctor import Diagnosis


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(bundle: options.Bundle = None, json: options.Json = False) -> None:
    """Check the installation, this machine and the bundle."""
    from foundry_edge.cli.output import print_json
    from foundry_edge_runtime.doctor import doctor as diagnose

    diagnosis = diagnose(bundle)
    if json:
        print_json(diagnosis.as_json())
    else:
        _show(diagnosis)
    if not diagnosis.healthy:
        raise typer.Exit(3)


def _show(diagnosis: Diagnosis) -> None:
    from rich.table import Table
    from rich.text import Text

    from foundry_edge.cli.output import stdout
    from foundry_edge_runtime.errors import printable

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    previous = ""
    for part, name, value, style in _rows(diagnosis):
        table.add_row(part if part != previous else "", name, Text(printable(value), style=style))
        previous = part
    stdout().print(table)


def _rows(diagnosis: Diagnosis) -> Iterator[tuple[str, str, str, str]]:
    """Part, name, value and style of each line."""
    for name, version in diagnosis.versions.items():
        yield "versions", name, version, ""
    for name, value in diagnosis.device.items():
        yield "device", name, value or "none seen", ""
    for one in diagnosis.backends:
        works = one["available"]
        yield "backends", one["name"], _works(one) if works else one["reason"], "green" if works else "yellow"
    grouping = diagnosis.grouping
    yield "grouping", grouping.name, grouping.detail, "green" if grouping.name == "compiled" else ""
    for extra in diagnosis.extras:
        text = f"lacks {', '.join(extra.missing)}: {extra.command}" if extra.missing else "installed"
        yield "extras", extra.name, text, "yellow" if extra.missing else "green"
    cache = diagnosis.cache
    writable = "" if cache["writable"] else " (cannot be written: profiles are not kept)"
    yield "cache", "", f"{cache['folder']}{writable}", "" if cache["writable"] else "yellow"
    yield from _bundle_rows(diagnosis.bundle)


def _works(status: dict[str, Any]) -> str:
    where = f" on {status['gpu']['gpu']}" if status["gpu"] else ""
    grouping = f"; {status['grouping']}" if status["grouping"] else ""
    return f"works ({status['version']}{where}{grouping})"


def _bundle_rows(bundle: dict[str, object]) -> Iterator[tuple[str, str, str, str]]:
    if "error" in bundle:
        yield "bundle", "", str(bundle["error"]), "red"
        return
    yield "bundle", str(bundle["source"]), f"{bundle['id']} in {bundle['folder']}", "green"
    for name in ("rungs", "measured_here", "built_here"):
        yield "bundle", name.replace("_", " "), ", ".join(_lines(bundle[name])) or "none", ""
    for problem in _lines(bundle["unusable_plans"]):
        yield "bundle", "unusable plans", problem, "yellow"
    yield "bundle", "files", f"{bundle['files_verified']} verified", "green"


def _lines(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
