"""Format name -> the function that reads it. A new format is one module and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.raw import Options, RawCloud
from foundry_edge_runtime.readers.source import Source

Read = Callable[[Source, Options], RawCloud]
ReadScans = Callable[[Source, Options], Iterator[RawCloud | ScanError]]

_PACKAGE = "foundry_edge_runtime.readers"
_MODULES = {
    "pcd": "pcd",
    "ply": "ply",
    "npy": "npy",
    "npz": "npz",
    "bin": "binary",
    "text": "text",
    "off": "off",
    "obj": "obj",
    "stl": "stl",
    "las": "las",
    "glb": "glb",
}
_SCANS = {"mcap": "mcap_bag", "e57": "e57"}
"""Formats that hold several scans; one that cannot be read is yielded as its error."""


FORMATS = (*_MODULES, *_SCANS)
"""Names of all formats."""


def holds_several(format_name: str) -> bool:
    """Whether a file of this format may hold more than one scan."""
    return format_name in _SCANS


def scans_of(format_name: str) -> ReadScans:
    """The reader of a format, imported on first use; a file with one scan yields one."""
    if format_name in _SCANS:
        read_scans: ReadScans = import_module(f"{_PACKAGE}.{_SCANS[format_name]}").read_scans
        return read_scans
    read: Read = import_module(f"{_PACKAGE}.{_MODULES[format_name]}").read

    def single(source: Source, options: Options) -> Iterator[RawCloud | ScanError]:
        yield read(source, options)

    return single
