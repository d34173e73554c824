"""What `run` shows to people: one scan on half a screen, many scans a line each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from foundry_edge.cli.ladder import RUN, print_ladder
from foundry_edge.cli.live import Live
from foundry_edge.cli.output import notice, print_figures, stderr, stdout
from foundry_edge.cli.parts import parts_heading, parts_line, parts_table
from foundry_edge_runtime.errors import printable
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.profile import THOROUGH, Profile, load_profile
from foundry_edge_runtime.selection import quick_profile

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from foundry_edge_runtime.result import Prediction, Result
    from foundry_edge_runtime.run import Running

_BAR = 24
_HEAD_END = re.compile(r"[:;] ")
_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")


class Report:
    """Prints results as they come.

    Args:
        many: one line for each scan; on a terminal with a live line below.
        running: the stream that they come from.
    """

    def __init__(self, many: bool, running: Running) -> None:
        self._many = many
        self._console = stdout()
        self._live = Live(self._console, running) if many and self._console.is_terminal else None

    def show(self, result: Result | Failure | None) -> None:
        """Print one result; None only brings the live line up to date."""
        if isinstance(result, Failure):
            self._console.print(_failure_line(result), soft_wrap=True)
        elif result is not None and (self._many or result.scan is not None):
            self._console.print(_line(result), soft_wrap=True)
        elif result is not None:
            self._single(result)
        if self._live is not None:
            self._live.update(None if isinstance(result, Failure) else result)

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.close()

    def _single(self, result: Result) -> None:
        console, ascii_only = self._console, self._console.options.ascii_only
        manifest = result.bundle.manifest
        console.print(_heading(result), soft_wrap=True)
        console.print()
        if result.top is not None:
            print_figures(console, _classes(result.top, result.confident, ascii_only))
            console.print()
        if result.parts is not None:
            console.print(parts_heading(result.parts), style="bold", soft_wrap=True, markup=False)
            print_figures(console, parts_table(result.parts))
            console.print()
        console.print(_facts(result))
        console.print()
        profile = self._profile(result)
        console.print("Engines of this bundle (times in ms: grouping and engine)", style="bold")
        print_ladder(console, manifest, profile, RUN, result.choice)
        if not profile.complete(manifest):
            console.print("`foundry-edge bench` measures every engine on this device.", style="dim")
        elif not profile.complete(manifest, THOROUGH.runs):
            console.print("A first look; `foundry-edge bench` measures for longer.", style="dim")

    def _profile(self, result: Result) -> Profile:
        """What was measured here; on a terminal a first short look is taken, after the result is shown."""
        profile = load_profile(result.bundle.manifest)
        if profile.engines or not self._console.is_terminal:
            return profile
        with stderr().status("first run on this device: measuring every engine once ..."):
            return quick_profile(result.bundle, result.budget, notify=notice)


def _heading(result: Result) -> Text:
    from rich.text import Text

    cloud = result.cloud
    extent = " x ".join(
        f"{high - low:.3g}" for low, high in zip(cloud.bounds.min, cloud.bounds.max, strict=True)
    )
    dropped = ", ".join(f"{count} {why.replace('_', ' ')}" for why, count in cloud.dropped.items() if count)
    about = f"  {cloud.format}, {len(cloud)} points, {extent}" + (f"; dropped: {dropped}" if dropped else "")
    return Text.assemble((printable(cloud.source), "bold"), (about, "dim"))


def _classes(top: tuple[Prediction, ...], confident: bool, ascii_only: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    for rank, one in enumerate(top):
        style = ("bold green" if confident else "bold yellow") if rank == 0 else ""
        bar = _bar(one.score, ascii_only)
        table.add_row(
            "  ",
            Text(printable(one.label), style=style),
            f"{100 * one.score:.1f} %",
            Text(bar, style=style or "dim"),
        )
    table.columns[2].justify = "right"
    return table


def _bar(score: float, ascii_only: bool) -> str:
    whole, eighths = divmod(round(score * _BAR * 8), 8)
    if ascii_only:
        return "#" * (whole + (eighths >= 4))
    return "█" * whole + _EIGHTHS[eighths]


def _facts(result: Result) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    rows = _fact_rows(result)
    for name, value in rows:
        style = {"warning": "yellow", "budget": "yellow"}.get(name, "")
        table.add_row(name, Text(printable(value), style=style))
    return table


def _fact_rows(result: Result) -> list[tuple[str, str]]:
    rung, latency = result.choice.rung, result.latency
    c, d = result.tokens.shape
    split = f"read {latency.read:.1f} + grouping {latency.group:.1f} + engine {latency.engine:.1f}"
    of_parts = [] if result.parts is None else [("parts", f"{result.parts.ms:.1f} ms, after the engine")]
    rows = [
        (
            "engine",
            f"{rung.encoded} tokens, {rung.precision}, {result.choice.backend}: {result.choice.reason}",
        ),
        ("latency", f"{latency.total:.1f} ms: {split}"),
        *of_parts,
        ("features", f"{c} tokens x {d}, global {len(result.pooled)}; {_kept(result)}"),
        ("bundle", f"{result.bundle.manifest.id} ({_origin(result)})"),
    ]
    if not result.choice.met:
        rows.insert(1, ("budget", "not met"))
    return rows + [("warning", line) for line in result.warnings]


def _kept(result: Result) -> str:
    return "kept with --save DIR" if result.saved is None else f"saved to {result.saved}"


def _origin(result: Result) -> str:
    bundle = result.bundle
    named = {
        "embedded": "embedded in the package",
        "environment": f"{bundle.folder}, from $FOUNDRY_EDGE_BUNDLE",
    }
    return named.get(bundle.source, str(bundle.folder))


def _line(result: Result) -> Text:
    from rich.text import Text

    if result.top is None:
        label, style = f"{result.tokens.shape[0]} tokens", ""
    else:
        label = f"{printable(result.top[0].label)} {result.top[0].score:.2f}"
        style = "green" if result.confident else "yellow"
    return Text.assemble(
        (f"{label:<28}", style),
        f" {result.latency.total:8.1f} ms  ",
        (printable(result.cloud.source), "bold"),
        ("" if result.scan is None else f" scan {result.scan}", "dim"),
        ("" if result.parts is None else f"  {result.parts.category}: {parts_line(result.parts)}", "dim"),
        (_remarks(result), "yellow"),
    )


def _remarks(result: Result) -> str:
    """What a reader must know of a scan, at the end of its line: every warning up to its first colon."""
    heads = [_HEAD_END.split(line, maxsplit=1)[0] for line in result.warnings]
    return f"  {printable('; '.join(heads))}" if heads else ""


def _failure_line(failure: Failure) -> Text:
    from rich.text import Text

    return Text.assemble(("failed ", "red"), str(failure))
