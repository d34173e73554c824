"""The compiled form of grouping (extra `fast`): machine code made once, kept in the user's cache.

It gives the indices of the NumPy form, sooner. Nothing is compiled at import or while a scan waits: until
`accelerate` has finished, NumPy serves.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from foundry_edge_runtime.device import usable_cpus
from foundry_edge_runtime.errors import printable
from foundry_edge_runtime.grouping import cache, kernels
from foundry_edge_runtime.grouping.neighbours import Indices, ranked
from foundry_edge_runtime.grouping.sampling import farthest_from_centroid, farthest_points
from foundry_edge_runtime.grouping.tree import Tree, plant
from foundry_edge_runtime.pointcloud import FloatArray

_ENTRIES = ("build", "sample", "neighbours")
_HELPERS = (
    "gap",
    "reach",
    "refresh_leaf",
    "refresh_branch",
    "refresh",
    "farthest_point",
    "insert",
    "scan_leaf",
    "near",
    "search",
)
_EXACT = {"nnan", "nsz"}  # squared distances are never NaN or -0; neither flag changes a rounding
_MANY = 4096  # centres from which threads pay


@dataclass(frozen=True)
class Compiled:
    """Machine code of `kernels`; calls release the interpreter's lock and may run in parallel."""

    build: Callable[..., None]
    sample: Callable[..., None]
    neighbours: Callable[..., None]

    def sampled(self, ordered: FloatArray, groups: int) -> tuple[Tree, Indices, FloatArray]:
        """The tree of points (N, 3), centres (c,), squared distances (N,) to all of them but the last."""
        tree = plant(ordered)
        self.build(tree.axes, tree.boxes, tree.first)
        nearest, farthest = tree.no_samples()
        centres = np.empty(groups, dtype=np.int64)
        centres[0] = farthest_from_centroid(ordered)
        self.sample(tree.axes, nearest, tree.boxes, farthest, tree.first, centres)
        return tree, centres, nearest[: tree.count]

    def indices(self, ordered: FloatArray, groups: int, size: int) -> tuple[Indices, Indices]:
        """As `group_indices`: centres (c,) and neighbours (c, K) of canonically ordered points (N, 3)."""
        tree, centres, _ = self.sampled(ordered, groups)
        found = np.empty((groups, min(size, tree.count)), dtype=np.int64)
        fixed = (tree.axes, tree.boxes, tree.first, tree.count)
        if groups < _MANY:
            self.neighbours(*fixed, centres, found)
            return centres, found
        parts = np.array_split(np.arange(groups), usable_cpus())
        with ThreadPoolExecutor(len(parts)) as pool:
            spans = [slice(part[0], part[-1] + 1) for part in parts]
            list(pool.map(lambda span: self.neighbours(*fixed, centres[span], found[span]), spans))
        return centres, found


@dataclass(frozen=True)
class GroupingPath:
    """Which form of grouping serves in this process.

    Attributes:
        name: "compiled" or "numpy"; the groups are the same.
        detail: of the compiler, or why there is none.
    """

    name: str
    detail: str


_lock = threading.Lock()
_compiled: Compiled | None = None
_path: GroupingPath | None = None


def compiled() -> Compiled | None:
    """The compiled form, where `accelerate` has loaded it."""
    return _compiled


def accelerate(compile_now: bool = True) -> GroupingPath:
    """Load the compiled form, from the user's cache where it is kept; later calls do nothing.

    Args:
        compile_now: compile it (seconds) where this machine has not yet; otherwise NumPy goes on serving.

    Returns:
        What serves from now on. Without numba, or with one that does not work, that is NumPy. Threads may
        call this at once.
    """
    global _compiled, _path
    with _lock:
        if _path is not None:
            return _path
        if importlib.util.find_spec("numba") is None:
            return GroupingPath("numpy", "numba is not installed (pip install 'foundry-edge[fast]')")
        if not compile_now and not cache.prepared():
            return GroupingPath("numpy", "not compiled on this machine yet; `foundry-edge bench` does that")
        _compiled, _path = _loaded()
        return _path


def _loaded() -> tuple[Compiled | None, GroupingPath]:
    try:
        return _compile_and_check()
    except Exception as error:  # whatever a broken numba raises: it is optional, and its reason is shown
        return None, GroupingPath("numpy", printable(f"numba does not work here: {error}")[:200])


def _compile_and_check() -> tuple[Compiled | None, GroupingPath]:
    import numba  # noqa: PLC0415 - the extra `fast`, half a second to import

    config: Any = numba.config
    if config.DISABLE_JIT:
        return None, GroupingPath("numpy", "NUMBA_DISABLE_JIT is set")
    folder = cache.folder()
    try:
        made = _checked(numba, folder)
    except Exception:
        if not cache.emptied(folder):  # what is kept there may be damaged
            raise
        made = _checked(numba, folder)
    cache.mark_prepared(folder)
    return made, GroupingPath("compiled", f"numba {numba.__version__}")


def _checked(numba: Any, folder: Path | None) -> Compiled:
    """Machine code that has just given what NumPy gives: indices where there are ties, distances to the bit.

    A compiler that fuses a product and a sum changes distances in their last bit, and indices rarely.
    """
    made = _compile(numba, folder)
    rng = np.random.default_rng(0)
    for cloud in (rng.integers(0, 8, (600, 3)).astype(np.float32), rng.random((600, 3), dtype=np.float32)):
        expected, distances = farthest_points(cloud, 40)
        _, centres, nearest = made.sampled(cloud, 40)
        _, found = made.indices(cloud, 40, 20)
        if not (
            np.array_equal(centres, expected)
            and np.array_equal(nearest, distances[:-1].min(axis=0))
            and np.array_equal(found, ranked(distances, 20))
        ):
            raise RuntimeError("its machine code gives other groups than NumPy")
    return made


def _compile(numba: Any, folder: Path | None) -> Compiled:
    """Decorate a copy of `kernels` of our own; the functions find each other in it."""
    copy = _private_copy(kernels)
    with cache.used_by(numba, folder):
        for names, cached in ((_HELPERS, False), (_ENTRIES, folder is not None)):
            for name in names:
                jit = numba.njit(nogil=True, fastmath=_EXACT, error_model="numpy", cache=cached)
                setattr(copy, name, jit(getattr(copy, name)))
    return Compiled(copy.build, copy.sample, copy.neighbours)


def _private_copy(module: ModuleType) -> Any:
    spec = importlib.util.find_spec(module.__name__)
    if spec is None or spec.loader is None:
        raise ImportError(f"no source of {module.__name__}")
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy
