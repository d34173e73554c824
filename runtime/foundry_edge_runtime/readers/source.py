"""The bytes of one input: a regular file or standard input, with its size fixed when it is opened.

Every reader takes its bytes from here, so no reader can block on a FIFO, trust a size that the file does
not have, or miss that the file changed under it (policy P1, P5, P6).
"""

from __future__ import annotations

import io
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.device import available_memory
from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.uri import SCHEMES, is_uri, scheme_of, suffix_of

ByteArray = npt.NDArray[np.uint8]

HEAD_BYTES = 1 << 16
"""How much of a file may be looked at to tell its format."""
_STDIN_CHUNK = 1 << 20
_ALWAYS_FREE = 1 << 20
_SPECIAL = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a folder",
}


@dataclass
class Source:
    """Random access to the bytes of one input.

    Attributes:
        name: what the user called it ("-" for standard input).
        size: bytes, fixed at open.
        suffix: lower-case file name suffix, "" for standard input; a hint only.
    """

    name: str
    size: int
    suffix: str = ""
    _file: BinaryIO | None = None
    _data: bytes = b""
    _stamp: tuple[int, int] = (0, 0)
    _head: bytes | None = field(default=None, repr=False)
    _warnings: list[str] = field(default_factory=list)

    def error(self, problem: str, remedy: str = "re-copy or re-export the file") -> ScanError:
        """A `ScanError` that names this input."""
        return ScanError(problem, where=self.name, remedy=remedy)

    def warn(self, line: str) -> None:
        """Note something odd that does not make the points doubtful."""
        self._warnings.append(line)

    def take_warnings(self) -> list[str]:
        """The warnings since the last call."""
        taken, self._warnings = self._warnings, []
        return taken

    @property
    def head(self) -> bytes:
        """The first `HEAD_BYTES` bytes (fewer in a shorter file)."""
        if self._head is None:
            self._head = self.read(0, min(self.size, HEAD_BYTES))
        return self._head

    def read(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset``; errors as in `array`."""
        self._require(offset, count)
        if self._file is None:
            return self._data[offset : offset + count]
        self.reserve(count)
        parts = [os.pread(self._handle(), count, offset)]
        while (done := sum(map(len, parts))) < count:
            parts.append(os.pread(self._handle(), count - done, offset + done))
            if not parts[-1]:
                raise self._shrunk(offset + done)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def array(self, offset: int = 0, count: int | None = None) -> ByteArray:
        """``count`` bytes from ``offset`` (to the end by default) as a uint8 array.

        Raises:
            ScanError: the range is outside the input, does not fit the memory, or the file shrank.
        """
        wanted = self.size - offset if count is None else count
        self._require(offset, wanted)
        if self._file is None:
            return np.frombuffer(self._data, np.uint8, wanted, offset)
        self.reserve(wanted)
        buffer = np.empty(wanted, np.uint8)
        done = 0
        while done < wanted:
            got = os.preadv(self._handle(), [buffer.data[done:]], offset + done)
            if got == 0:
                raise self._shrunk(offset + done)
            done += got
        return buffer

    def _require(self, offset: int, wanted: int) -> None:
        end = offset + wanted
        if offset < 0 or wanted < 0 or end > self.size:
            raise self.error(f"truncated: bytes {offset} to {end} wanted, the file has {self.size}")

    def _shrunk(self, position: int) -> ScanError:
        return self.error(
            f"the file shrank while being read: byte {position} of {self.size} is gone",
            "wait until it is written completely, then try again",
        )

    def reserve(self, wanted: int) -> None:
        """Refuse, before allocating, what would not fit the free memory."""
        if wanted <= _ALWAYS_FREE:
            return
        free = available_memory()
        if wanted > free // 2:
            raise self.error(
                f"reading needs {wanted >> 20} MiB at once, {free >> 20} MiB of memory are free",
                "split the scan into smaller files",
            )

    def changed(self) -> str:
        """What changed since the file was opened ("" when nothing did)."""
        if self._file is None:
            return ""
        now = os.fstat(self._handle())
        if now.st_size != self.size:
            verb = "grew" if now.st_size > self.size else "shrank"
            return f"the file {verb} while being read: {self.size} bytes when opened, {now.st_size} now"
        if (now.st_mtime_ns, now.st_ino) != self._stamp:
            return "the file was written to while being read"
        return ""

    def _handle(self) -> int:
        if self._file is None:
            raise ValueError("standard input has no file handle")
        return self._file.fileno()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_source(path: str | os.PathLike[str]) -> Source:
    """Open a path, the URI of an object, or standard input for "-".

    Raises:
        ScanError: missing, unreadable, empty, or not a regular file (FIFO, device, folder, socket).
        MissingExtraError: it is an object, and what reads it is not installed.
        StorageError: there is no room for the object.
    """
    name = os.fspath(path)
    source = _from_stdin() if name == "-" else _from_object(name) if is_uri(name) else _from_path(name)
    if source.size == 0:
        source.close()
        raise source.error("the file is empty (0 bytes)", "copy it again")
    return source


def from_bytes(data: bytes, name: str = "bytes") -> Source:
    """A source over bytes in memory."""
    return Source(name=name, size=len(data), suffix=Path(name).suffix.lower(), _data=data)


def _from_object(name: str) -> Source:
    from foundry_edge_runtime.readers.objects import fetch  # noqa: PLC0415 - an extra

    return _opened(name, fetch(name))


def _from_path(name: str) -> Source:
    try:
        _require_regular(name, os.stat(name).st_mode)  # noqa: PTH116 - before open: opening some devices acts
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot_open(name, error) from None
    except ValueError:  # an embedded NUL
        raise ScanError(
            "no such file: the name holds a NUL byte", where=name, remedy="check the path"
        ) from None
    source = _opened(name, os.fdopen(descriptor, "rb", buffering=0))
    try:
        _require_regular(name, os.fstat(descriptor).st_mode)
    except ScanError:
        source.close()
        raise
    return source


def _opened(name: str, file: BinaryIO) -> Source:
    info = os.fstat(file.fileno())
    source = Source(name, info.st_size, suffix_of(name), _file=file)
    source._stamp = (info.st_mtime_ns, info.st_ino)
    return source


def _require_regular(name: str, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kind = _SPECIAL.get(stat.S_IFMT(mode), "not a file")
    remedy = "copy the scan to a file, or pipe it to '-'"
    if stat.S_ISDIR(mode):
        remedy = "name one of its scans; in Python find_scans lists them"
    raise ScanError(f"is {kind}, not a regular file", where=name, remedy=remedy)


def _cannot_open(name: str, error: OSError) -> ScanError:
    if scheme := scheme_of(name):
        known = ", ".join(f"{one}://" for one in SCHEMES)
        return ScanError(
            f"{scheme}:// is not read", where=name, remedy=f"fetch it to a file first; read are {known}"
        )
    remedies = {
        FileNotFoundError: ("no such file", "check the path"),
        PermissionError: ("permission denied", "make the file readable (chmod u+r)"),
        NotADirectoryError: ("no such file: a part of the path is not a folder", "check the path"),
    }
    problem, remedy = remedies.get(type(error), (f"cannot be opened: {error.strerror}", "check the path"))
    return ScanError(problem, where=name, remedy=remedy)


def standard_input() -> io.BufferedReader:
    """The bytes of standard input.

    Raises:
        ScanError: it is closed, as under some schedulers.
    """
    if sys.stdin is None:
        raise ScanError("standard input is closed", where="-", remedy="pipe a scan, or give a file")
    return cast("io.BufferedReader", sys.stdin.buffer)


def _from_stdin() -> Source:
    stream = standard_input()
    chunks: list[bytes] = []
    total, limit = 0, available_memory() // 4
    while chunk := stream.read(_STDIN_CHUNK):
        total += len(chunk)
        if total > limit:
            raise ScanError(
                f"standard input exceeds {limit >> 20} MiB", where="-", remedy="save it to a file first"
            )
        chunks.append(chunk)
    return Source(name="-", size=total, _data=b"".join(chunks))
