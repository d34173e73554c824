"""Which columns of a file are x, y and z."""

from __future__ import annotations

from collections.abc import Sequence

from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.source import Source

AXES = ("x", "y", "z")
MAX_FIELDS = 4096
"""Fields that a header may name; files in use have a hundred at most."""


def axis_names(source: Source, names: Sequence[str], what: str) -> tuple[str, str, str]:
    """The names that are x, y and z, in any case.

    Args:
        source: for the error message.
        names: as in the file.
        what: what the file calls them ("FIELDS", "vertex properties").

    Raises:
        ScanError: an axis is missing or a name of an axis occurs twice.
    """
    found = [_axis(source, axis, names, what) for axis in AXES]
    return found[0], found[1], found[2]


def _axis(source: Source, axis: str, names: Sequence[str], what: str) -> str:
    matches = [name for name in names if name.lower() == axis]
    listed = shorten(" ".join(names), 80)
    if not matches:
        raise source.error(
            f"{what}: no field named {axis} among: {listed}", "a scan needs the fields x, y and z"
        )
    exact = [name for name in matches if name == axis] or matches
    if len(exact) > 1:
        raise source.error(f"{what}: duplicate field {exact[0]} in: {listed}", "field names must be unique")
    return exact[0]


def require_scalar(source: Source, name: str, count: int, what: str) -> None:
    """Refuse a coordinate that has several values per point."""
    if count != 1:
        raise source.error(f"{what} of field {name!r}: expected 1, found {count}")


def unique_names(names: Sequence[str], padding: str = "") -> list[str]:
    """The names, later duplicates as ``name_2``, ``name_3``."""
    result: list[str] = []
    numbers: dict[str, int] = {}
    used: set[str] = set()
    for name in names:
        number = numbers.get(name, 0) + 1
        candidate = name if number == 1 else f"{name or padding}_{number}"
        while candidate in used:
            number += 1
            candidate = f"{name or padding}_{number}"
        numbers[name] = number
        used.add(candidate)
        result.append(candidate)
    return result
