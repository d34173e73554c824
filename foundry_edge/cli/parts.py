"""What `run --parts` shows: the parts of an object with their points and shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foundry_edge_runtime.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from foundry_edge_runtime.parts.result import PartResult


def parts_table(parts: PartResult) -> Table:
    """One row for each part that has points, the largest first."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("  part")
    table.add_column("points", justify="right")
    table.add_column("share", justify="right")
    for name, count in _largest(parts):
        table.add_row(Text(f"  {printable(name)}"), str(count), f"{100 * count / len(parts.part):.1f} %")
    return table


def parts_line(parts: PartResult) -> str:
    """The same in a few words, for one of many scans: ``seat 51 %, leg 30 %``."""
    return ", ".join(
        f"{printable(name)} {100 * count / len(parts.part):.0f} %" for name, count in _largest(parts)
    )


def parts_heading(parts: PartResult) -> str:
    """Whose parts they are, how that was chosen, and how probable its class is."""
    chosen = "named with --category" if parts.named else "the most probable class that has parts"
    score = "" if parts.score is None else f", {100 * parts.score:.1f} %"
    return printable(f"Parts of {parts.category} ({chosen}{score})")


def _largest(parts: PartResult) -> list[tuple[str, int]]:
    found = [(name, count) for name, count in parts.counts.items() if count]
    return sorted(found, key=lambda one: -one[1])
