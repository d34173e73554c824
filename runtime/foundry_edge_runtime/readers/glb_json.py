"""Typed look-ups in a glTF document that nobody vouches for."""

from __future__ import annotations

from typing import Any

from foundry_edge_runtime.readers.source import Source

Object = dict[str, Any]


def objects(source: Source, parent: Object, key: str) -> list[Object]:
    """An array of objects, [] when it is absent.

    Raises:
        ScanError: it is something else.
    """
    value = parent.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise source.error(f"glTF {key}: expected an array of objects")
    return value


def integer(source: Source, parent: Object, key: str, default: int | None = None) -> int:
    """A count or index >= 0.

    Raises:
        ScanError: it is something else, or absent without a default.
    """
    value = parent.get(key, default)
    if type(value) is not int or not 0 <= value < 2**53:
        raise source.error(f"glTF {key}: expected an integer >= 0, found {str(value)[:40]!r}")
    return value


def item(source: Source, items: list[Object], index: int, what: str) -> Object:
    """``items[index]``.

    Raises:
        ScanError: there is no such item.
    """
    if index >= len(items):
        raise source.error(f"glTF {what} {index} does not exist: there are {len(items)}")
    return items[index]


def numbers(source: Source, parent: Object, key: str, default: list[float]) -> list[float]:
    """An array of as many finite numbers as ``default`` has.

    Raises:
        ScanError: it is something else.
    """
    value = parent.get(key, default)
    good = isinstance(value, list) and len(value) == len(default)
    if not good or not all(type(n) in (int, float) and abs(n) < 1e30 for n in value):
        raise source.error(f"glTF {key}: expected {len(default)} finite numbers")
    return [float(n) for n in value]
