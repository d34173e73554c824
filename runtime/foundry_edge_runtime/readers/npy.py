"""NPY files (NEP 1): numbers only, nothing in them is unpickled.

The header is parsed here rather than by numpy, so that the shape is checked against the file's real size
before an array is made.
"""

from __future__ import annotations

import ast
import math
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.array_layout import cloud_of_array
from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.raw import Options, RawCloud
from foundry_edge_runtime.readers.source import Source

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000
_BAD_LITERAL = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)
_BAD_DTYPE = (ValueError, SyntaxError, TypeError, KeyError, OverflowError, IndexError, RecursionError)


@dataclass(frozen=True)
class NpyHeader:
    """A checked header; ``body`` is the offset of the first byte of the array."""

    dtype: np.dtype[np.generic]
    fortran_order: bool
    shape: tuple[int, ...]
    body: int

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize


def read(source: Source, options: Options) -> RawCloud:
    """Read an (N, C) or structured array."""
    header = parse_header(source, source.head)
    shape = _whole_shape(source, header, options)
    size = math.prod(shape) * header.dtype.itemsize
    if source.size - header.body > header.size:
        source.warn(f"{source.size - header.body - header.size} trailing bytes after the array were ignored")
    array = shaped(source.array(header.body, size), header, shape)
    return cloud_of_array(source, array, "npy", options.columns)


def parse_header(source: Source, head: bytes) -> NpyHeader:
    """Read and check the header at the start of ``head``.

    Raises:
        ScanError: not NPY, an object dtype, or a shape that is none.
    """
    if not head.startswith(MAGIC) or len(head) < 10:
        raise source.error("not an NPY file: the magic bytes or the header are missing")
    wide = head[6] >= 2
    start = 12 if wide else 10
    length = int.from_bytes(head[8:start], "little")
    if length > MAX_HEADER_BYTES or start + length > len(head):
        raise source.error(f"truncated or corrupt: an NPY header of {length} bytes is claimed")
    entries = _literal(source, head[start : start + length])
    return NpyHeader(
        _dtype(source, entries["descr"]),
        bool(entries["fortran_order"]),
        _shape(source, entries["shape"]),
        start + length,
    )


def shaped(data: npt.NDArray[np.uint8], header: NpyHeader, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
    """Bytes as the array that the header describes."""
    return np.ndarray(shape, header.dtype, data.data, order="F" if header.fortran_order else "C")


def _literal(source: Source, text: bytes) -> dict[str, object]:
    try:
        entries = ast.literal_eval(text.decode("utf-8").strip())
    except _BAD_LITERAL:
        entries = None
    if not isinstance(entries, dict) or set(entries) != {"descr", "fortran_order", "shape"}:
        raise source.error("corrupt NPY header: expected the keys descr, fortran_order and shape")
    return entries


def _dtype(source: Source, description: object) -> np.dtype[np.generic]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(description, list):
                description = [tuple(entry) for entry in description]
            dtype: np.dtype[np.generic] = np.dtype(description)  # type: ignore[call-overload]
    except _BAD_DTYPE:
        raise source.error(f"corrupt NPY header: dtype {shorten(str(description))!r} is unknown") from None
    if dtype.hasobject:
        raise source.error(
            "dtype object: the array holds pickled Python objects, which are never loaded",
            "save the points as float32",
        )
    return dtype


def _shape(source: Source, shape: object) -> tuple[int, ...]:
    if isinstance(shape, tuple) and len(shape) <= 32 and all(type(n) is int and n >= 0 for n in shape):
        return shape
    raise source.error(f"corrupt NPY header: shape {shorten(str(shape))!r} is not a tuple of counts")


def _whole_shape(source: Source, header: NpyHeader, options: Options) -> tuple[int, ...]:
    """The shape, or with ``salvage`` the whole rows of a truncated file (P1, P5)."""
    have = source.size - header.body
    if header.size <= have:
        return header.shape
    problem = (
        f"truncated: shape {header.shape} of dtype {header.dtype} is {header.size} bytes, "
        f"the file has {have} after the header"
    )
    row = math.prod(header.shape[1:]) * header.dtype.itemsize
    whole = have // row if row and not header.fortran_order else 0
    if not (options.salvage and whole):
        raise source.error(problem, "re-copy the file, or pass --salvage to keep the whole rows")
    source.warn(f"{problem}; kept {whole} whole rows")
    return (whole, *header.shape[1:])
