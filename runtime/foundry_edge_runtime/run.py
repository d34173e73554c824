"""`foundry-edge run`: scans in, results out."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import load_bundle
from foundry_edge_runtime.errors import BackendError, FoundryEdgeError
from foundry_edge_runtime.inspection import Failure, expand
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.readers import read_points
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.save import feature_file, save_features
from foundry_edge_runtime.selection import Notify, silent
from foundry_edge_runtime.session import Session

STDIN = "-"
Read = Callable[[str], PointCloud]
_PEEK = 4096


@dataclass(frozen=True)
class Scans:
    """What is to be run.

    Attributes:
        names: paths, or "-" for a scan on standard input.
        many: a folder or a list: failures are results, and the rest goes on.
        root: the folder, when it is one.
    """

    names: Iterable[str]
    many: bool
    root: Path | None = None


def scans_of(scan: str | os.PathLike[str]) -> Scans:
    """A file, the scans of a folder, or standard input: a scan, or a list of paths, one a line.

    Standard input is a list when its first line names an existing file, else the bytes of one scan.

    Raises:
        InputError: the folder holds no scan.
    """
    name = os.fspath(scan)
    if name == STDIN:
        return Scans(_lines(), many=True) if _is_list_of_paths() else Scans([name], many=False)
    if Path(name).is_dir():
        return Scans([os.fspath(path) for path in expand([name])], many=True, root=Path(name))
    return Scans([name], many=False)


def run(
    scan: str | os.PathLike[str] | Scans,
    *,
    bundle: str | os.PathLike[str] | None = None,
    max_latency_ms: float | None = None,
    min_accuracy: float | None = None,
    max_memory_mb: float | None = None,
    tokens: int | None = None,
    precision: str | None = None,
    backend: str | None = None,
    strict: bool = False,
    save: str | os.PathLike[str] | None = None,
    salvage: bool = False,
    columns: str | Sequence[str] | None = None,
    topic: str | None = None,
    vertices: bool = False,
    seed: int = 0,
    notify: Notify = silent,
) -> Iterator[Result | Failure]:
    """Run one scan, the scans of a folder, or those named on standard input ("-").

    Args:
        scan: file, folder or "-", or what `scans_of` made of it.
        bundle: a folder; None takes the default one (see `load_bundle`).
        max_latency_ms, min_accuracy, max_memory_mb, tokens, precision, backend: see `Budget`.
        strict: a budget that cannot be met, and an engine that fails, are errors.
        save: folder for the features of each scan (npz).
        salvage, columns, topic, vertices, seed: see `read_points`.
        notify: told in one line what is measured and what fails.

    Returns:
        An iterator over the results, in order. For a folder or list an unreadable scan gives a `Failure`.
        The engine is chosen and loaded before this function returns.

    Raises:
        InputError: no such scan, a wrong option, or a bundle that cannot be used.
        GateError: ``strict``, and no engine keeps within the budget.
        EnvironmentFault: no engine can be loaded, or the features cannot be saved.
    """
    budget = Budget(max_latency_ms, min_accuracy, max_memory_mb, tokens, precision, backend)
    scans = scan if isinstance(scan, Scans) else scans_of(scan)
    _refuse_missing(scans)
    session = Session(load_bundle(bundle), budget, strict=strict, notify=notify)
    folder = None if save is None else Path(save)
    read = partial(read_points, salvage=salvage, columns=columns, topic=topic, vertices=vertices, seed=seed)
    return _results(session, scans, folder, read)


def _results(session: Session, scans: Scans, folder: Path | None, read: Read) -> Iterator[Result | Failure]:
    with session:
        for name in scans.names:
            try:
                result = _one(session, name, read)
            except BackendError:
                raise  # no engine is left: that is not this scan's failure
            except FoundryEdgeError as error:
                if not scans.many:
                    raise
                yield Failure(name, error)
                continue
            if folder is not None:
                result = save_features(result, feature_file(name, folder, scans.root))
            yield result


def _one(session: Session, name: str, read: Read) -> Result:
    started = time.perf_counter()
    cloud = read(name)
    return session.run(cloud, read_ms=(time.perf_counter() - started) * 1e3)


def _refuse_missing(scans: Scans) -> None:
    """Let the reader say what is wrong with a single scan's name before an engine is loaded."""
    for name in () if scans.many else scans.names:
        if name != STDIN and not Path(name).exists():
            read_points(name)


def _is_list_of_paths() -> bool:
    line, end, _ = cast("io.BufferedReader", sys.stdin.buffer).peek(_PEEK).partition(b"\n")
    return bool(end) and b"\0" not in line and Path(os.fsdecode(line.rstrip(b"\r"))).is_file()


def _lines() -> Iterator[str]:
    for line in sys.stdin.buffer:
        name = os.fsdecode(line.rstrip(b"\r\n"))
        if name:
            yield name
