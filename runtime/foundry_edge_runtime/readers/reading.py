"""From an input to points: open, detect, read, judge."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import numpy as np

from foundry_edge_runtime.errors import InputError, ScanError
from foundry_edge_runtime.pointcloud import Bounds, PointCloud
from foundry_edge_runtime.readers.detect import SUFFIXES, detect, first_of_paths
from foundry_edge_runtime.readers.policy import choose_origin, finish, recentre
from foundry_edge_runtime.readers.raw import Options, RawCloud
from foundry_edge_runtime.readers.registry import holds_several, scans_of
from foundry_edge_runtime.readers.sampling import sample_surface
from foundry_edge_runtime.readers.source import Source, open_source

_OF_COLUMNS = ("bin", "text", "npy", "npz")
"""Formats whose columns may have to be named."""
_OF_TOPICS = "mcap"


def read_points(
    source: str | os.PathLike[str],
    *,
    salvage: bool = False,
    columns: str | Sequence[str] | None = None,
    topic: str | None = None,
    vertices: bool = False,
    seed: int = 0,
) -> PointCloud:
    """Read one point cloud from a file of any known format; the scans of a bag are joined.

    Args:
        source: path, or "-" for standard input.
        salvage: keep the whole points of a truncated file, with a warning.
        columns: names of the columns of a headerless table, as "x,y,z,intensity" ("_" skips one).
        topic: topic of a bag; needed when it has several with point clouds.
        vertices: of a mesh, take its vertices instead of points sampled uniformly on its surface.
        seed: seed of surface sampling.

    Returns:
        xyz (N, 3) float32 relative to ``origin``, attributes, and what was dropped and why.

    Raises:
        ScanError: the input cannot be trusted or read; names the file, the field and the remedy.
        MissingExtraError: the format needs an optional package.
    """
    scans = list(
        read_scans(source, salvage=salvage, columns=columns, topic=topic, vertices=vertices, seed=seed)
    )
    return scans[0] if len(scans) == 1 else join(scans)


def read_scans(
    source: str | os.PathLike[str],
    *,
    salvage: bool = False,
    columns: str | Sequence[str] | None = None,
    topic: str | None = None,
    vertices: bool = False,
    seed: int = 0,
) -> Iterator[PointCloud]:
    """The scans of one input, one after the other: one for most formats, one per message for a bag.

    Arguments and errors are those of `read_points`.
    """
    options = Options(salvage, parse_columns(columns), topic, vertices, seed)
    with open_source(source) as opened:
        yield from scans_in(opened, options)


def _tell_nobody(_: int | None) -> None:
    """Say nothing."""


def read_each(
    source: str | os.PathLike[str],
    options: Options,
    skip: int = 0,
    begins: Callable[[int | None], None] = _tell_nobody,
) -> Iterator[tuple[int | None, PointCloud | ScanError]]:
    """The scans of one input as they are read, each with its number; a damaged one of several as its error.

    Args:
        source: path, or "-" for standard input.
        options: see `read_points`.
        skip: leave out so many scans from the beginning, unjudged.
        begins: told the number of each scan before it is read; also one behind the last, since only reading
            shows that there is none.

    Yields:
        The number, counted from 1 (None for a format that holds one scan), and the scan.

    Raises:
        ScanError, MissingExtraError: see `read_points`; of several scans those before it were given.
    """
    with open_source(source) as opened, _known_errors(opened):
        name = _format(opened, options)
        outcomes, several = scans_of(name)(opened, options), holds_several(name)
        for number in count(1):
            if number > skip:
                begins(number if several else None)
            judged = _next(opened, outcomes, options, judge=number > skip)
            if judged is None:
                break
            if number <= skip:
                continue
            if several:
                yield number, judged
            elif isinstance(judged, ScanError):
                raise judged
            else:
                yield None, judged


def scans_in(source: Source, options: Options) -> Iterator[PointCloud]:
    """The scans of an open source; whatever goes wrong is a `FoundryEdgeError`."""
    with _known_errors(source):
        yield from _scans(source, options)


@contextmanager
def _known_errors(source: Source) -> Iterator[None]:
    try:
        yield
    except ScanError as error:
        if source.name == "-" and (path := first_of_paths(source.head)):
            wrong = "the command takes none" if os.path.exists(path) else f"{path} does not exist"  # noqa: PTH110
            error.remedy = f"if this is a list of paths, {wrong}"
        raise
    except MemoryError:
        raise source.error("the scan does not fit into memory", "split it into smaller files") from None
    except OSError as error:
        raise source.error(f"cannot be read: {error.strerror or error}", "check the disk") from None


def _format(source: Source, options: Options) -> str:
    """The format by content; a name that says otherwise is warned of."""
    format_name = detect(source, options.columns)
    hint = SUFFIXES.get(source.suffix, format_name)
    if hint != format_name and {hint, format_name} != {"text", "obj"}:
        source.warn(f"the name ends in {source.suffix}, but the content is {format_name.upper()}")
    if options.columns is not None and format_name not in _OF_COLUMNS:
        source.warn(f"--columns was not used: {format_name.upper()} says itself what it holds")
    if options.topic is not None and format_name != _OF_TOPICS:
        source.warn(f"--topic was not used: {format_name.upper()} has no topics")
    return format_name


def _next(
    source: Source, outcomes: Iterator[RawCloud | ScanError], options: Options, *, judge: bool = True
) -> PointCloud | ScanError | None:
    """The next scan under the policy, None at the end."""
    with np.errstate(all="ignore"):  # noise read as numbers overflows; the policy judges it
        raw = next(outcomes, None)
        if raw is None:
            return None
        return _judge(source, raw, options) if judge else source.error("left out")


def _scans(source: Source, options: Options) -> Iterator[PointCloud]:
    outcomes = scans_of(_format(source, options))(source, options)
    pending: PointCloud | None = None
    failures: list[ScanError] = []
    for number in count(1):
        judged = _next(source, outcomes, options)
        if judged is None:
            break
        if isinstance(judged, ScanError):
            failures.append(judged)
            source.warn(f"scan {number} was left out: {judged.problem}")
            continue
        if pending is not None:
            yield pending
        pending = judged
    if pending is None:
        raise failures[0] if failures else source.error("no scan found")
    yield replace(pending, warnings=(*pending.warnings, *source.take_warnings()))


def _judge(source: Source, raw: RawCloud | ScanError, options: Options) -> PointCloud | ScanError:
    """One scan under the policy, or why it cannot be used; a file that changed is an error in itself."""
    changed = source.changed()
    if changed and not options.salvage:
        raise source.error(changed, "wait until it is written completely, then try again")
    if changed:
        source.warn(changed)
    if isinstance(raw, ScanError):
        return raw
    try:
        if raw.faces is not None and not options.vertices:
            sample_surface(source, raw, options)
        elif options.seed:
            source.warn("--seed was not used: no surface is sampled")
        return finish(raw, source)
    except ScanError as error:
        return error


def parse_columns(columns: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """``--columns`` as a tuple of names.

    Raises:
        InputError: x, y or z is missing or given twice.
    """
    if columns is None:
        return None
    words = columns.split(",") if isinstance(columns, str) else list(columns)
    names = tuple(word.strip() for word in words)
    plain = [name.partition(":")[0].lower() for name in names]
    for axis in ("x", "y", "z"):
        if plain.count(axis) != 1:
            raise InputError(
                f"expected {axis} exactly once, found {','.join(names)!r}",
                where="--columns",
                remedy="give e.g. --columns x,y,z,intensity",
            )
    return names


def join(scans: Sequence[PointCloud]) -> PointCloud:
    """Several scans of one input as one cloud, around one origin.

    Raises:
        ScanError: there are none.
    """
    if not scans:
        raise ScanError("no scan found in the input")
    bounds = union([scan.bounds for scan in scans])
    origin = choose_origin(np.array(bounds.min), np.array(bounds.max))
    parts = [recentre(scan.xyz + scan.origin, origin) for scan in scans]
    common = [key for key in scans[0].attributes if all(key in scan.attributes for scan in scans)]
    return replace(
        scans[0],
        xyz=np.concatenate(parts),
        origin=origin,
        bounds=bounds,
        attributes={key: np.concatenate([scan.attributes[key] for scan in scans]) for key in common},
        read=sum(scan.read for scan in scans),
        dropped={key: sum(scan.dropped[key] for scan in scans) for key in scans[0].dropped},
        warnings=tuple(dict.fromkeys(line for scan in scans for line in scan.warnings)),
    )


def union(boxes: Sequence[Bounds]) -> Bounds:
    """The smallest box around all boxes."""
    low = np.min([box.min for box in boxes], axis=0).tolist()
    high = np.max([box.max for box in boxes], axis=0).tolist()
    return Bounds(tuple(low), tuple(high))
