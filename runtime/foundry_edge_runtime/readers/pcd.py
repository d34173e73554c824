"""PCD files, all three encodings (pointclouds.org, "The PCD file format").

VIEWPOINT is the pose of the sensor; as in PCL, points are not moved by it.
"""

from __future__ import annotations

import numpy as np

from foundry_edge_runtime.readers.attributes import attributes_of, cast_values
from foundry_edge_runtime.readers.columns import axis_names, require_scalar, unique_names
from foundry_edge_runtime.readers.lzf_stream import decompress
from foundry_edge_runtime.readers.pcd_header import PADDING, PcdHeader, parse_header
from foundry_edge_runtime.readers.raw import Column, Options, RawCloud, stack_xyz
from foundry_edge_runtime.readers.source import ByteArray, Source
from foundry_edge_runtime.readers.table import parse_rows

_RECOPY = "re-copy the file"
_PAGE_BYTES = 4096


def read(source: Source, options: Options) -> RawCloud:
    """Read one PCD file."""
    header = parse_header(source)
    if header.points == 0:
        raise source.error("POINTS is 0: the scan is empty (no points)", "record it again")
    names = unique_names([f.name for f in header.fields], PADDING)
    axes = axis_names(source, [f.name for f in header.fields], "FIELDS")
    for name in axes:
        require_scalar(source, name, header.fields[names.index(name)].count, "COUNT")
    body = {"ascii": _ascii, "binary": _binary, "binary_compressed": _compressed}[header.encoding]
    columns = dict(zip(names, body(source, header, options), strict=True))
    x, y, z = (columns.pop(name) for name in axes)
    kept = {name: column for name, column in columns.items() if not name.startswith(PADDING)}
    return RawCloud(
        format=f"pcd/{header.encoding}",
        fields=tuple(f.name for f in header.fields),
        xyz=stack_xyz(x, y, z),
        attributes=attributes_of(kept),
    )


def _binary(source: Source, header: PcdHeader, options: Options) -> list[Column]:
    points = _whole_points(source, header, options)
    dtype = np.dtype([(f"f{i}", f.dtype, (f.count,)) for i, f in enumerate(header.fields)])
    rows = source.array(header.body, points * header.point_bytes).view(dtype)
    return [_flat(rows[f"f{i}"]) for i in range(len(header.fields))]


def _whole_points(source: Source, header: PcdHeader, options: Options) -> int:
    """How many points to read, after comparing the claim with the real size (P1, P5)."""
    have = source.size - header.body
    claim = header.points * header.point_bytes
    whole = min(header.points, have // header.point_bytes)
    if claim > have:
        problem = (
            f"truncated: POINTS {header.points} of {header.point_bytes} bytes (SIZE x COUNT) are {claim} "
            f"bytes, the file has {have} after the header ({whole} whole points)"
        )
        if not options.salvage or whole == 0:
            raise source.error(
                problem, _RECOPY + (" or pass --salvage to keep the whole points" if whole else "")
            )
        source.warn(f"{problem}; kept the whole points")
    elif claim < have:
        _check_trailing(source, header.body, have - claim)
    return whole


def _check_trailing(source: Source, body: int, extra: int) -> None:
    start = source.read(body, min(256, source.size - body))
    if not set(start) - set(b"0123456789+-.eE \t\r\nnaNif"):
        raise source.error("DATA says binary, but the body is text (and has extra bytes)", "set DATA ascii")
    _warn_trailing(source, body, extra, "point")


def _warn_trailing(source: Source, body: int, extra: int, what: str) -> None:
    """Warn about extra bytes, except the zeros with which PCL fills the page that holds its header."""
    padding = abs(body + extra - _PAGE_BYTES) <= 16 and not source.array(source.size - extra, extra).any()
    if not padding:
        source.warn(f"{extra} trailing bytes after the last {what} were ignored")


def _compressed(source: Source, header: PcdHeader, options: Options) -> list[Column]:
    have = source.size - header.body
    if have < 8:
        raise source.error(
            "truncated: the two sizes of the compressed data need 8 bytes, "
            f"the file has {have} after the header",
            _RECOPY,
        )
    packed, claimed = (int(n) for n in source.array(header.body, 8).view("<u4"))
    expected = header.points * header.point_bytes
    if claimed != expected:
        raise source.error(
            f"size mismatch: the uncompressed size is given as {claimed} bytes, POINTS {header.points} of "
            f"{header.point_bytes} bytes are {expected}"
        )
    if packed > have - 8:
        raise source.error(f"truncated: {packed} compressed bytes claimed, the file has {have - 8}", _RECOPY)
    if packed < have - 8:
        _warn_trailing(source, header.body, have - 8 - packed, "compressed byte")
    data = decompress(source, source.read(header.body + 8, packed), claimed)
    return _planes(np.frombuffer(data, np.uint8), header)


def _planes(data: ByteArray, header: PcdHeader) -> list[Column]:
    """Compressed data holds one field after the other, each for all points."""
    columns, start = [], 0
    for f in header.fields:
        end = start + f.bytes * header.points
        columns.append(_flat(data[start:end].view(f.dtype).reshape(header.points, f.count)))
        start = end
    return columns


def _ascii(source: Source, header: PcdHeader, options: Options) -> list[Column]:
    width = sum(f.count for f in header.fields)
    least = header.points * 2 * width - 1  # a digit and a separator per value
    have = source.size - header.body
    if least > have and not options.salvage:
        raise source.error(
            f"truncated: POINTS {header.points} rows of {width} columns need at least {least} bytes, "
            f"the file has {have} after the header",
            _RECOPY,
        )
    body = source.read(header.body, have)
    table, problem = parse_rows(
        source, body, width, first_line=header.lines + 1, rows=header.points, salvage=options.salvage
    )
    if len(table) < header.points:
        text = f"truncated: POINTS {header.points} rows claimed, {len(table)} present"
        text += f" ({problem})" if problem else ""
        if not options.salvage:
            raise source.error(text, _RECOPY + " or pass --salvage to keep the whole rows")
        source.warn(f"{text}; kept the whole points")
    elif body.count(b"\n") > header.points and (extra := _filled_lines(body) - header.points) > 0:
        source.warn(f"{extra} trailing lines (extra rows) after the last point were ignored")
    return _ascii_columns(table, header)


def _filled_lines(body: bytes) -> int:
    return sum(1 for line in body.split(b"\n") if line.strip())


def _ascii_columns(
    table: np.ndarray[tuple[int, int], np.dtype[np.float64]], header: PcdHeader
) -> list[Column]:
    columns, start = [], 0
    for f in header.fields:
        values = table[:, start : start + f.count]
        columns.append(_flat(values if f.name.lower() in "xyz" else cast_values(values, f.dtype, f.name)))
        start += f.count
    return columns


def _flat(values: Column) -> Column:
    return values[:, 0] if values.shape[1] == 1 else values
