"""Pickles written by hand, to go into otherwise honest checkpoints."""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from pathlib import Path

PICKLES_BEFORE = 3
"""A legacy file starts with a magic number, a version and system information."""


def text(value: str) -> bytes:
    """BINUNICODE."""
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def named(module: str, name: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{name}\n".encode()


def stacked(module: str, name: str) -> bytes:
    """STACK_GLOBAL: the two parts may hold anything."""
    return text(module) + text(name) + b"\x93"


def spliced(honest: bytes, payload: bytes) -> bytes:
    """An honest pickle that also runs ``payload`` (which leaves one value) before it ends."""
    return honest.removesuffix(b".") + payload + b"0."


def with_pickle(path: Path, pickled: bytes = b"", payload: bytes = b"", stored: bool = True) -> Path:
    """Rewrite a zip-form checkpoint with another pickle, or its own, and ``payload`` spliced into that."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    (name,) = (name for name in entries if name.endswith("/data.pkl"))
    pickled = pickled or entries[name]
    entries[name] = spliced(pickled, payload) if payload else pickled
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for entry, data in entries.items():
            archive.writestr(entry, data)
    return path


def pickle_of(path: Path) -> bytes:
    """The pickle of a zip-form checkpoint."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


def with_legacy_payload(path: Path, payload: bytes) -> Path:
    """Splice ``payload`` into the object's pickle of a legacy checkpoint."""
    data = path.read_bytes()
    stream = io.BytesIO(data)
    for _ in range(PICKLES_BEFORE):
        list(pickletools.genops(stream))
    start = stream.tell()
    list(pickletools.genops(stream))
    end = stream.tell()
    path.write_bytes(data[:start] + spliced(data[start:end], payload) + data[end:])
    return path


def runs(payload: bytes) -> None:
    """Let Python's own loader run it: proof that a test would see the payload act."""
    pickle.loads(b"\x80\x04" + payload + b".")
