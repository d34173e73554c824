"""Computes scenes with the scene graphs of a bundle."""

from __future__ import annotations

import math
import time
from types import TracebackType

import numpy.typing as npt

from foundry_edge_runtime.bundle.load import Bundle, opened
from foundry_edge_runtime.bundle.manifest import Scene
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.errors import InputError, ScanError
from foundry_edge_runtime.grouping import SceneGroups, accelerate, group_scene
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.readers import as_cloud
from foundry_edge_runtime.scenes.encoding import OnProgress, encode_scene
from foundry_edge_runtime.scenes.frame import Frame, frame_of, group_scale
from foundry_edge_runtime.scenes.plan import Plan, Size, plan
from foundry_edge_runtime.scenes.result import Memory, SceneResult
from foundry_edge_runtime.scenes.stages import Stages, require_backend

_LARGE = 100_000
"""Points from which the compiled grouping saves more time than loading it takes."""
_COMPILER_MB = 140.0
"""What loading it takes; measured up to 125."""


class SceneSession:
    """Runs scenes of any number of points, each as one sequence of c = N / K groups.

    Args:
        bundle: from `load_bundle`; None takes the default one.
        tokens: s, one of the bundle's budgets for scenes; None takes the largest.
        max_memory_mb: highest peak resident memory of the process in MiB.
        backend: None or "onnxruntime".
        threads: CPU threads; None takes the CPUs this process may use.

    Raises:
        InputError: the bundle has no scene graphs or not this budget, or an option makes no sense.
        BundleError: the bundle is not what its manifest says.
        BackendError: a graph cannot be loaded.
    """

    def __init__(
        self,
        bundle: Bundle | None = None,
        *,
        tokens: int | None = None,
        max_memory_mb: float | None = None,
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.base_mb = resident_mb()
        self.bundle = opened(bundle)
        self.scene = _scene_of(self.bundle)
        self.tokens = _budget_of(self.scene, tokens, self.bundle.manifest.id)
        self.limit_mb = _limit(max_memory_mb, self.base_mb)
        require_backend(backend)
        self._stages = Stages(self.bundle, self.scene, threads)

    def run(
        self,
        points: PointCloud | npt.ArrayLike,
        *,
        read_ms: float = 0.0,
        on_progress: OnProgress = lambda stage, done, total: None,
    ) -> SceneResult:
        """Compute one scene.

        Args:
            points: (N, 3) array of any real type, or what `read_points` gave.
            read_ms: what reading took, for the result.
            on_progress: told (stage, groups done, groups in all).

        Raises:
            ScanError: too few points, or more than the memory holds.
            InputError: the memory allowed is too small.
            BackendError: a stage failed.
        """
        cloud = points if isinstance(points, PointCloud) else as_cloud(points)
        size = self._size(cloud)
        planned = self._planned(size)
        try:
            return self._computed(cloud, size, planned, read_ms, on_progress)
        except MemoryError:
            raise ScanError(
                f"its {len(cloud)} points do not fit into memory", where=cloud.source, remedy="thin it out"
            ) from None

    def _computed(
        self, cloud: PointCloud, size: Size, planned: Plan, read_ms: float, on_progress: OnProgress
    ) -> SceneResult:
        started = time.perf_counter()
        frame = frame_of(cloud.xyz)
        xyz = frame.apply(cloud.xyz)
        framed = time.perf_counter()
        on_progress("group", 0, size.groups)
        grouped = group_scene(xyz, size.groups, self._group_size)
        scale = group_scale(grouped, self.scene.group_radius, planned.chunks.tokens)
        times = {"frame": (framed - started) * 1e3, "group": (time.perf_counter() - framed) * 1e3}
        return self._encoded(cloud, frame, grouped, scale, planned, read_ms, times, on_progress)

    def _encoded(
        self,
        cloud: PointCloud,
        frame: Frame,
        grouped: SceneGroups,
        scale: float,
        planned: Plan,
        read_ms: float,
        times: dict[str, float],
        on_progress: OnProgress,
    ) -> SceneResult:
        found = encode_scene(
            self._stages,
            grouped,
            scale,
            self.tokens,
            self.scene.window,
            self.bundle.manifest.width,
            planned.chunks,
            on_progress,
        )
        return SceneResult(
            cloud=cloud,
            bundle=self.bundle,
            backend=self._stages.backend,
            supertokens=self.tokens,
            windows=found.windows,
            chunks=planned.chunks,
            frame=frame,
            group_scale=scale,
            read_ms=read_ms,
            stages_ms=times | found.stages_ms,
            memory=Memory(self.base_mb, planned.expected_mb, resident_mb(peak=True)),
            limit_mb=self.limit_mb,
            tokens=found.tokens,
            centers=grouped.centers,
            pooled=found.pooled,
            supertoken=found.supertoken,
        )

    def _planned(self, size: Size) -> Plan:
        """Chunk sizes; before that, large scenes load the compiled grouping, where it is and fits."""
        about, limit = self.bundle.manifest, self.limit_mb
        planned = plan(about, self.scene, size, resident_mb() or 0.0, limit)
        room = math.inf if limit is None else limit - planned.expected_mb
        if size.points >= _LARGE and room >= _COMPILER_MB:
            accelerate(compile_now=False)
            planned = plan(about, self.scene, size, resident_mb() or 0.0, limit)
        return planned

    @property
    def _group_size(self) -> int:
        return self.bundle.manifest.preprocessing.group_size

    def _size(self, cloud: PointCloud) -> Size:
        least = self.tokens * self._group_size
        if len(cloud) < least:
            raise ScanError(
                f"a scene needs at least {least} points ({self.tokens} SuperTokens, groups of "
                f"{self._group_size}), found {len(cloud)}",
                where=cloud.source,
                remedy="leave out --scene, or use fewer --tokens",
            )
        return Size(len(cloud), len(cloud) // self._group_size, self.tokens)

    def close(self) -> None:
        """Free the graphs; the session cannot run afterwards."""
        self._stages.close()

    def __enter__(self) -> SceneSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _scene_of(bundle: Bundle) -> Scene:
    if bundle.manifest.scene is None:
        raise InputError(
            f"bundle {bundle.manifest.id} has no graphs for scenes",
            where=bundle.folder,
            remedy="make them with `foundry-edge export --scene`",
        )
    return bundle.manifest.scene


def _budget_of(scene: Scene, tokens: int | None, bundle: str) -> int:
    if tokens is None:
        return scene.tokens[-1]
    if tokens not in scene.tokens:
        raise InputError(
            f"bundle {bundle} has no scene budget of {tokens} SuperTokens",
            where="--tokens",
            remedy=f"it has {', '.join(map(str, scene.tokens))}",
        )
    return tokens


def _limit(max_memory_mb: float | None, base_mb: float | None) -> float | None:
    """The limit, if it makes sense here."""
    if max_memory_mb is None:
        return None
    if not 0 < max_memory_mb < float("inf"):
        raise InputError(f"--max-memory-mb must be a number above 0, found {max_memory_mb}")
    if base_mb is None:
        raise InputError(
            "--max-memory-mb needs a system that tells what a process takes (/proc/self/status)",
            remedy="leave it out",
        )
    if max_memory_mb <= base_mb:
        raise InputError(
            f"--max-memory-mb is {max_memory_mb:g}, and the process takes {base_mb:.0f} MiB before it "
            "reads anything",
            remedy="raise it",
        )
    return max_memory_mb
