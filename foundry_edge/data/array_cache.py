"""Arrays that take minutes to make, kept in the user's cache."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.files import replacing


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
    with replacing(path) as partial, partial.open("wb") as stream:
        np.save(stream, made)
    return made
