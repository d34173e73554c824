"""Arrays of .npz files that may be damaged or hostile: nothing is unpickled, no size is taken on trust."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Header = tuple[tuple[int, ...], bool, np.dtype[np.generic]]

BROKEN = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    TypeError,
    SyntaxError,
    MemoryError,
    OverflowError,
    SystemError,  # a text of characters that do not exist
    tokenize.TokenError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""What reading a damaged archive raises, or (in hdf5.py) a damaged HDF5 file."""

NUMBERS = "fiu"
"""Kinds of dtype (`numpy.dtype.kind`): floats and integers."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_archive(path: Path, names: Iterable[str], kinds: str = NUMBERS) -> dict[str, Array]:
    """Those of the arrays ``names`` that an .npz file holds.

    Args:
        path: the file.
        names: of the arrays; whatever else it holds stays packed.
        kinds: of dtype that are taken.

    Raises:
        one of `BROKEN`: damaged, or an array is of another kind or claims more than its bytes hold.
    """
    with zipfile.ZipFile(path) as archive:
        held = {name: f"{name}.npy" for name in names}
        present = set(archive.namelist())
        return {
            name: _array(archive.getinfo(member), archive, name, kinds)
            for name, member in held.items()
            if member in present
        }


def claimed_shape(path: Path, name: str) -> tuple[int, ...]:
    """The shape of one array, by its header alone.

    Raises:
        one of `BROKEN`: damaged, or there is no such array.
    """
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        return _header(stream)[0]


def reason_of(error: BaseException) -> str:
    """What a `BROKEN` error says, on one short line; the name of its type where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _header(stream: IO[bytes]) -> Header:
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the .npy format is unknown")
    found: Header = _HEADERS[version](stream)
    return found


def _array(entry: zipfile.ZipInfo, archive: zipfile.ZipFile, name: str, kinds: str) -> Array:
    if entry.compress_type not in _METHODS:
        raise ValueError(f"{name} is packed by the unknown method {entry.compress_type}")
    with archive.open(entry) as stream:
        shape, fortran, dtype = _header(stream)
        if dtype.kind not in kinds:
            raise ValueError(f"{name} is of dtype {dtype}")
        size = math.prod(shape) * dtype.itemsize
        if not 0 <= size <= entry.file_size:
            raise ValueError(
                f"{name} claims the shape {list(shape)}, which its {entry.file_size} bytes cannot hold"
            )
        data = stream.read(size)
    if len(data) < size:
        raise ValueError(f"{name} ends after {len(data)} of {size} bytes")
    return np.ndarray(shape, dtype, data, order="F" if fortran else "C")
