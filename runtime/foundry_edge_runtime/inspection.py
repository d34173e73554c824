"""`foundry-edge inspect`: read and validate scans, without any engine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundry_edge_runtime.errors import FoundryEdgeError, InputError, printable
from foundry_edge_runtime.pointcloud import Bounds, PointCloud
from foundry_edge_runtime.readers import find_scans, read_scans
from foundry_edge_runtime.readers.folders import find_objects, is_object
from foundry_edge_runtime.readers.reading import union
from foundry_edge_runtime.readers.uri import is_uri
from foundry_edge_runtime.saved import is_result

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """What a scan holds, over all scans of a bag.

    Attributes:
        input: the name that was read.
        format: e.g. "pcd/binary_compressed".
        fields: names of the fields found, in file order.
        read: points in the file; of a mesh, its vertices.
        valid: points left by the reading policy.
        dropped: why points were dropped -> how many.
        bounds: box over the valid points, in the coordinates of the file.
        warnings: one line each.
        attributes: per-point attributes -> dtype and shape, as text.
        scans: scans in the input (messages of a bag; 1 otherwise).
    """

    input: str
    format: str
    fields: tuple[str, ...]
    read: int
    valid: int
    dropped: dict[str, int]
    bounds: Bounds
    warnings: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    scans: int = 1

    def as_json(self) -> dict[str, Any]:
        """The record that `inspect --json` prints."""
        return {
            "schema": 1,
            "input": self.input,
            "format": self.format,
            "fields": list(self.fields),
            "points": {"read": self.read, "valid": self.valid, "dropped": dict(self.dropped)},
            "bounds": {"min": list(self.bounds.min), "max": list(self.bounds.max)},
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Failure:
    """An input of a folder or list that could not be read or computed.

    Attributes:
        input: its name.
        error: why.
        scan: the number of the scan, where the input holds several.
    """

    input: str
    error: FoundryEdgeError
    scan: int | None = None

    def __str__(self) -> str:
        """For people, on one line."""
        return f"{'' if self.scan is None else f'scan {self.scan}: '}{self.error}"

    def as_json(self) -> dict[str, Any]:
        """The record that `inspect --json` and `run --json` print in place of the result."""
        number = {} if self.scan is None else {"scan": self.scan}
        return {"schema": 1, "input": self.input, **number, "error": str(self.error)}


def inspect(
    scan: str | os.PathLike[str],
    *,
    salvage: bool = False,
    columns: str | Sequence[str] | None = None,
    topic: str | None = None,
    vertices: bool = True,
) -> Inspection:
    """Read one scan and report what it holds.

    All scans of a bag are read, one at a time, and summed up.

    Args:
        scan: path, or "-" for standard input.
        salvage: keep the whole points of a truncated file, with a warning.
        columns: names of the columns of a headerless table, as "x,y,z,intensity".
        topic: topic of a bag.
        vertices: of a mesh, report its vertices; else the points that `run` would sample on its surface.

    Raises:
        ScanError: the scan cannot be trusted or read.
        MissingExtraError: the format needs an optional package.
    """
    parts = [
        _summary(cloud)
        for cloud in read_scans(scan, salvage=salvage, columns=columns, topic=topic, vertices=vertices)
    ]
    return parts[0] if len(parts) == 1 else _total(parts)


def inspect_all(
    scans: Sequence[str | os.PathLike[str]],
    *,
    salvage: bool = False,
    columns: str | Sequence[str] | None = None,
    topic: str | None = None,
    vertices: bool = True,
) -> Iterator[Inspection | Failure]:
    """Inspect files and folders (recursively, sorted), one result or failure each, as they are read.

    Raises:
        InputError: a folder holds no scan at all.
    """
    for path in expand(scans):
        try:
            yield inspect(path, salvage=salvage, columns=columns, topic=topic, vertices=vertices)
        except FoundryEdgeError as error:
            yield Failure(os.fspath(path), error)


def are_many(scans: Sequence[str]) -> bool:
    """Whether these may be several scans: more than one name, a folder, or a prefix of an object store.

    Raises:
        InputError: a store cannot be reached.
        MissingExtraError: what reads a store is not installed.
    """
    if len(scans) != 1:
        return True
    if is_uri(scans[0]):
        return not is_object(scans[0])
    return scans[0] != "-" and Path(scans[0]).is_dir()


def expand(scans: Sequence[str | os.PathLike[str]]) -> Iterator[str | os.PathLike[str]]:
    """Files as they are, folders and prefixes of object stores as the scans in them, without saved results.

    Raises:
        InputError: a name is empty, a folder holds no scan, or a store cannot be reached.
        MissingExtraError: what reads a store is not installed.
    """
    for scan in scans:
        if not os.fspath(scan):
            raise InputError("empty path", remedy="give a scan or a folder; is a shell variable unset?")
        if is_uri(os.fspath(scan)):
            yield from find_objects(os.fspath(scan))
            continue
        if os.fspath(scan) == "-" or not Path(scan).is_dir():
            yield scan
            continue
        yield from _scans_in(scan)


def _scans_in(folder: str | os.PathLike[str]) -> list[Path]:
    """The scans in a folder, without what an earlier run saved there."""
    files = find_scans(folder)
    scans = [path for path in files if not is_result(path)]
    if saved := len(files) - len(scans):
        _log.warning("%s: files that an earlier run saved, left out: %d", printable(folder), saved)
    if not scans:
        raise InputError("no scan found in the folder", where=folder, remedy="give a folder with scans")
    return scans


def _summary(cloud: PointCloud) -> Inspection:
    return Inspection(
        input=cloud.source,
        format=cloud.format,
        fields=cloud.fields,
        read=cloud.read,
        valid=len(cloud),
        dropped=cloud.dropped,
        bounds=cloud.bounds,
        warnings=tuple(printable(line) for line in cloud.warnings),
        attributes={key: _described(column) for key, column in cloud.attributes.items()},
    )


def _described(column: Any) -> str:
    width = f" x {column.shape[1]}" if column.ndim > 1 else ""
    return f"{column.dtype.name}{width}"


def _total(parts: Sequence[Inspection]) -> Inspection:
    return Inspection(
        input=parts[0].input,
        format=parts[0].format,
        fields=parts[0].fields,
        read=sum(p.read for p in parts),
        valid=sum(p.valid for p in parts),
        dropped={key: sum(p.dropped[key] for p in parts) for key in parts[0].dropped},
        bounds=union([p.bounds for p in parts]),
        warnings=tuple(dict.fromkeys(line for p in parts for line in p.warnings)),
        attributes=parts[0].attributes,
        scans=len(parts),
    )
