"""`--ledger`: the record of every finished scan in one file; a run that was killed goes on after it.

A ledger is a text file of JSON lines: a header, then for each finished scan its input, size and time of the
file, number within the file, and the record that `run --json` prints; files with several scans get one more
line at their end. A line is written with one call and counts once its line break is there, so a run killed at
any moment leaves each scan either finished or not begun.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from foundry_edge_runtime.errors import EnvironmentFault, InputError, StorageError
from foundry_edge_runtime.files import refuse_uri
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.readers.uri import absolute
from foundry_edge_runtime.streams.items import Item, Items, Outcome

SCHEMA = 1
_SYNC_SECONDS = 1.0
_HEAD = b'{"ledger":'
_REMEDY = "name another file"


class Ledger:
    """An open ledger; it is locked, so two runs cannot share it.

    Args:
        path: of the file; it is made when it does not exist.
        bundle: id of the bundle; the records of one ledger come from one bundle.

    Attributes:
        skipped: scans passed over because they were finished before.

    Raises:
        InputError: the file is not a ledger, is a URI, is that of another bundle, or another run uses it.
        StorageError: it cannot be opened or written.
    """

    def __init__(self, path: str | os.PathLike[str], bundle: str) -> None:
        self.skipped = 0
        refuse_uri(path, "--ledger")
        self._path = Path(path)
        self._synced = time.monotonic()
        self._begun: dict[bytes, int] = {}  # inputs with several scans: how many are finished
        self._ended: set[bytes] = set()
        self._given: set[bytes] = set()
        if self._path.exists() and not self._path.is_file():
            raise InputError("is no regular file", where=self._path, remedy=_REMEDY)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self._path.open("a+b", buffering=0)
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            self._lock()
            self._load(bundle)
        except BaseException:
            self._file.close()
            raise

    def remaining(self, items: Items) -> Items:
        """The inputs with anything left to do; those begun know how many of their scans to skip."""
        for item in items:
            key = None if item is None else _key(item)
            if item is None or key is None:
                yield item
                continue
            short = _short(key)
            done = self._begun.get(short, 0)
            if short in self._ended or short in self._given:
                self.skipped += done or 1
                continue
            self._given.add(short)
            self.skipped += done
            yield replace(item, skip=done, key=key)

    def add(self, outcome: Outcome) -> None:
        """Note a finished scan, or the end of an input.

        What failed because this machine lacks something is not noted: it is tried again.

        Raises:
            StorageError: the disk is full; the scan then counts as not finished.
        """
        result, key = outcome.result, outcome.item.key
        if key is None or (isinstance(result, Failure) and isinstance(result.error, EnvironmentFault)):
            return
        if result is not None:
            record = {"key": key, "scan": outcome.scan, "record": result.as_json()}
        elif _short(key) in self._ended:
            return
        else:
            record = {"end": key}
        self._write(record)
        self._learn(record)

    def close(self) -> None:
        """Bring it to the disk, and let others use it."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._cannot_write(error) from error
        finally:
            self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError("another run uses this ledger", where=self._path, remedy=_REMEDY) from None
        except OSError:
            return  # this file system has no locks; sharing a ledger is then the user's mistake to avoid

    def _load(self, bundle: str) -> None:
        self._file.seek(0)
        content = self._file.read()
        if content and not content.startswith(_HEAD[: len(content)]):
            raise InputError("is not a ledger", where=self._path, remedy=_REMEDY)
        whole, end, torn = content.rpartition(b"\n")
        if torn:
            self._file.truncate(len(whole) + len(end))
        lines = whole.splitlines()
        if not lines:
            self._write({"ledger": SCHEMA, "bundle": bundle})
            return
        self._check(self._parse(lines[0], 1), bundle)
        for number, line in enumerate(lines[1:], 2):
            self._learn(self._parse(line, number))

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise InputError(f"line {number} is not a JSON object", where=self._path, remedy=_REMEDY)
        return record

    def _check(self, head: dict[str, Any], bundle: str) -> None:
        for name, expected in (("ledger", SCHEMA), ("bundle", bundle)):
            if head.get(name) != expected:
                problem = f"{name}: expected {expected!r}, found {head.get(name)!r}"
                raise InputError(problem, where=self._path, remedy=_REMEDY)

    def _learn(self, record: dict[str, Any]) -> None:
        key = _short(str(record.get("end", record.get("key"))))
        if "end" in record or record.get("scan") is None:
            self._ended.add(key)
        else:
            self._begun[key] = self._begun.get(key, 0) + 1

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        try:
            size = os.fstat(self._file.fileno()).st_size
            if self._file.write(line) != len(line):
                self._file.truncate(size)
                raise OSError("No space left on device")
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> StorageError:
        reason = error.strerror or str(error)
        return StorageError(
            f"cannot be written ({reason})", where=self._path, remedy="free space or name another file"
        )


def read_ledger(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """The records of a ledger, as `run --json` printed them; a torn last line is left out.

    Raises:
        InputError: the file is not a ledger or cannot be read.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from error
    if not content.startswith(_HEAD):
        raise InputError("is not a ledger", where=path)
    for line in content.splitlines(keepends=True):
        record = json.loads(line) if line.endswith(b"\n") else {}
        if "record" in record:
            yield record["record"]


def _short(key: str) -> bytes:
    """A key in a few bytes, so that a million finished scans take little memory."""
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=12).digest()


def _key(item: Item) -> str | None:
    """What a file is known by: its path, size and time; an object by its URI; None for what is neither."""
    if item.load is not None:
        return None
    path = absolute(item.name)
    try:
        info = os.stat(path)  # noqa: PTH116
    except OSError:
        return json.dumps([path])
    return json.dumps([path, info.st_size, info.st_mtime_ns])
