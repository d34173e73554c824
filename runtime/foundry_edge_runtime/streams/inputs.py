"""What `run` is given: a scan, a folder, a folder that is watched, a list of paths, a live topic."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.inspection import expand
from foundry_edge_runtime.readers.uri import is_uri
from foundry_edge_runtime.streams import lines
from foundry_edge_runtime.streams.items import Item
from foundry_edge_runtime.streams.queue import LiveQueue
from foundry_edge_runtime.streams.watch import watch as watch_folder

STDIN = "-"
ROS = "ros2:"


@dataclass(frozen=True)
class Scans:
    """What is to be run.

    Attributes:
        items: the inputs as they come; None when there is nothing at the moment.
        many: a folder, a list or a live source: failures are results, and the rest goes on.
        root: the folder, when it is one.
        live: the queue of a live source.
    """

    items: Iterable[Item | None]
    many: bool
    root: Path | None = None
    live: LiveQueue | None = None


def scans_of(scan: str | os.PathLike[str], *, watch: bool = False) -> Scans:
    """A file, the scans of a folder, standard input, or a live topic.

    Args:
        scan: a path, or the URI of an object or of a prefix in a store (s3://bucket/scans); "-" for
            standard input, which is a list of paths, one a line or each before a NUL byte, when the first
            names an existing file or an object, else the bytes of one scan; "ros2:/topic" for the
            PointCloud2 messages of a ROS 2 topic.
        watch: of a folder, wait for more.

    Raises:
        InputError: the folder holds no scan, or ``watch`` and it is no folder.
        MissingExtraError: ROS 2 is not there.
    """
    name = os.fspath(scan)
    if watch:
        return Scans(watch_folder(name), many=True, root=Path(name))
    if name.startswith(ROS):
        from foundry_edge_runtime.streams.ros import subscribe  # noqa: PLC0415 - an extra

        queue = subscribe(name.removeprefix(ROS))
        return Scans(queue, many=True, live=queue)
    if name == STDIN:
        end = lines.separator()
        return Scans(lines.paths(end), many=True) if end else Scans([Item(name)], many=False)
    found = [os.fspath(one) for one in expand([name])]
    root = Path(name) if Path(name).is_dir() else None
    return Scans([Item(one) for one in found], many=root is not None or found != [name], root=root)


def refuse_missing(scans: Scans) -> None:
    """Let the reader say what is wrong with a single scan's name before an engine is loaded.

    Raises:
        ScanError: there is no such file.
    """
    from foundry_edge_runtime.readers.source import open_source  # noqa: PLC0415 - with numpy

    if not scans.many:
        for item in scans.items:
            if item is not None and item.name != STDIN and not is_uri(item.name):
                open_source(item.name).close()


def refuse_mixture(scans: Scans, *, ledger: bool, processes: bool) -> None:
    """Some options need files.

    Raises:
        InputError: a ledger or worker processes are asked for, and the scans are no files.
    """
    plain = scans.live is None and (scans.many or all(i and i.name != STDIN for i in scans.items))
    for flag, asked in (("--ledger needs", ledger), ("--workers and --isolate need", processes)):
        if asked and not plain:
            raise InputError(f"{flag} files to go back to", remedy="save the scans to files first")
