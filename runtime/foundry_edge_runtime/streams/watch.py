"""`--watch`: the scans of a folder, and those that come later, each once it is whole."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.readers import find_scans
from foundry_edge_runtime.saved import is_result
from foundry_edge_runtime.streams.items import TICK_SECONDS, Item

_REST = 4  # a look at a large folder takes long; at most a fifth of the time is spent on looking
_Stamp = tuple[int, int, int]


def watch(folder: str | os.PathLike[str], *, seconds: float = TICK_SECONDS) -> Iterator[Item | None]:
    """Scans below a folder, for ever: those there, and each new or changed one.

    A file counts as whole when its size and time were the same on two looks in a row, so one that is being
    written is waited for. A file that changes later comes again. What `--save` writes there is left out.

    Args:
        folder: searched as `find_scans` does.
        seconds: between two looks; longer where a look takes long.

    Yields:
        A scan, or None after a look that found nothing.

    Raises:
        InputError: the folder cannot be listed.
    """
    if not os.fspath(folder) or not Path(folder).is_dir():
        raise InputError("--watch needs a folder", where=folder, remedy="give an existing folder")
    return _looks(Path(folder), seconds)


def _looks(folder: Path, seconds: float) -> Iterator[Item | None]:
    before: dict[Path, _Stamp] = {}
    given: dict[Path, _Stamp] = {}
    while True:
        begun = time.monotonic()
        now = {path: stamp for path in find_scans(folder) if (stamp := _stamp(path)) is not None}
        given = {path: stamp for path, stamp in given.items() if path in now}
        ready = [path for path, stamp in now.items() if before.get(path) == stamp != given.get(path)]
        for path in ready:
            given[path] = now[path]
            if not is_result(path):
                yield Item(os.fspath(path))
        before = now
        if not ready:
            yield None
            time.sleep(max(seconds, _REST * (time.monotonic() - begun)))


def _stamp(path: Path) -> _Stamp | None:
    """What changes when a file is written; None when it is gone again."""
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_size, info.st_mtime_ns, info.st_ino
