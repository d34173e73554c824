"""What takes minutes to make, kept in a cache; one that cannot be written costs time, not the result."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.errors import StorageError
from foundry_edge_runtime.files import replacing

_log = logging.getLogger(__name__)


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill the file ``path`` of a cache; a warning where it cannot be written."""
    try:
        with replacing(path) as partial:
            write(partial)
    except StorageError as error:
        _log.warning("not kept, and made again next time: %s", error)


def kept(kind: str, key: str, make: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """What ``make`` gives, from the cache where it is there; a damaged copy is made anew.

    Args:
        kind: folder of the cache.
        key: of everything that ``make`` depends on, the code included.
        make: returns an array without objects.
    """
    path = cache_folder() / kind / f"{key}.npy"
    try:
        stored: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        pass  # not there, or damaged
    else:
        return stored
    made = make()
    keep(path, lambda partial: _save(partial, made))
    return made


def _save(path: Path, made: npt.NDArray[Any]) -> None:
    with path.open("wb") as stream:  # np.save adds a suffix to a name
        np.save(stream, made)
