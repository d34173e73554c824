"""What `run --scene` shows: one scan whole, with the time of every step and the memory it took."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from foundry_edge.cli.logs import Log
from foundry_edge.cli.output import print_json, stderr, stdout
from foundry_edge.cli.stream import summarise
from foundry_edge_runtime.errors import InputError, printable
from foundry_edge_runtime.inspection import Failure

if TYPE_CHECKING:
    from rich.table import Table

    from foundry_edge_runtime.scenes.encoding import OnProgress
    from foundry_edge_runtime.scenes.result import SceneResult

Unlike = dict[str, object]
"""Options that mean nothing with --scene, and what was given for them."""
_REASONS = {"--parts": "names the parts of a single object, and a scene with --scene is many"}

_STEPS = {
    "frame": "scaling",
    "group": "farthest points, neighbours",
    "tokens": "tokenizer and local mixing",
    "assign": "assignment to SuperTokens",
    "encode": "encoder on the SuperTokens",
    "restore": "back to every group",
}


def show_scenes(scan: str, log: Log, *, unlike: Unlike, strict: bool, json: bool, **options: Any) -> int:
    """Run scans with `run_scene` and show what they gave.

    Args:
        scan: file, folder or "-".
        log: where the counts go.
        unlike: refused where given.
        strict: a peak above the memory allowed is a failure.
        json: one JSON object a line.
        options: of `run_scene`.

    Returns:
        The exit code: 1 when a scan failed, or ``strict`` and one took more memory than allowed.
    """
    from foundry_edge_runtime.scenes.run import run_scene
    from foundry_edge_runtime.streams.inputs import scans_of
    from foundry_edge_runtime.streams.items import Counts

    _refuse(unlike)
    scans, counts, missed = scans_of(scan), Counts(), 0
    with ExitStack() as stack:
        stack.callback(summarise, counts, log, scans.many)
        on_progress = stack.enter_context(_progress())
        for result in run_scene(scans, on_progress=on_progress, **options):
            counts.received += 1
            if isinstance(result, Failure):
                counts.failed += 1
            else:
                counts.done += 1
                missed += result.kept is False
            if json:
                print_json(result.as_json())
            else:
                _show(result)
    return int(counts.failed > 0 or (strict and missed > 0))


def _refuse(unlike: Unlike) -> None:
    for flag, value in unlike.items():
        if value is not None and value is not False:
            reason = _REASONS.get(flag, "means nothing with --scene")
            raise InputError(reason, where=flag, remedy="leave it out")


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A bar on stderr while a scene is computed; nothing where stderr is no terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)

        def advance(stage: str, done: int, total: int) -> None:
            bar.update(task, description=_STEPS[stage], completed=done, total=total)

        yield advance


def _show(result: SceneResult | Failure) -> None:
    from rich.text import Text

    console = stdout()
    if isinstance(result, Failure):
        console.print(printable(f"failed {result}"), style="red", soft_wrap=True, markup=False)
        return
    cloud = result.cloud
    extent = " x ".join(
        f"{high - low:.3g}" for low, high in zip(cloud.bounds.min, cloud.bounds.max, strict=True)
    )
    heading = Text.assemble(
        (printable(cloud.source), "bold"), (f"  {cloud.format}, {len(cloud)} points, {extent}", "dim")
    )
    console.print(heading, soft_wrap=True)
    console.print()
    console.print(_facts(result))
    console.print()
    console.print(_times(result))


def _facts(result: SceneResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _fact_rows(result):
        table.add_row(name, Text(printable(value), style="yellow" if name == "warning" else ""))
    return table


def _fact_rows(result: SceneResult) -> list[tuple[str, str]]:
    groups, width = result.tokens.shape
    size = result.bundle.manifest.preprocessing.group_size
    kept = "kept with --save DIR" if result.saved is None else f"saved to {result.saved}"
    if result.points is not None:
        kept += f", every point in {os.path.basename(result.points)}"  # noqa: PTH119 - a name to show
    rows = [
        ("groups", f"{groups} of {size} points, mixed in {result.windows} windows"),
        ("SuperTokens", f"{result.supertokens}, {result.used} of them in use"),
        ("features", f"{groups} tokens x {width}, global {len(result.pooled)}; {kept}"),
        ("memory", _memory(result)),
        ("bundle", f"{result.bundle.manifest.id} ({result.bundle.source}), fp32 on {result.backend}"),
    ]
    return rows + [("warning", line) for line in result.warnings]


def _memory(result: SceneResult) -> str:
    memory, chunks = result.memory, result.chunks
    peak = "unknown here" if memory.peak is None else f"{memory.peak:.0f} MiB"
    base = "" if memory.base is None else f" ({memory.base:.0f} before the scan)"
    limit = "" if result.limit_mb is None else f", allowed {result.limit_mb:g} MiB"
    return f"peak {peak}{base}{limit}; at most {chunks.windows} windows at once"


def _times(result: SceneResult) -> Table:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_row("reading", f"{result.read_ms:.1f} ms")
    for name, taken in result.stages_ms.items():
        table.add_row(_STEPS[name], f"{taken:.1f} ms")
    total = result.latency_ms["total"]
    points_a_second = len(result.cloud) / max(total, 1e-3) * 1e3
    table.add_row("total", f"{total:.1f} ms", style="bold")
    table.add_row("", f"{points_a_second:,.0f} points/s", style="dim")
    return table
