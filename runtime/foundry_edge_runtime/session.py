"""A chosen engine, loaded and ready: points in, result out."""

from __future__ import annotations

import time
from types import TracebackType

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.backends.base import Backend, Engine, Outputs
from foundry_edge_runtime.backends.registry import get_backend
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.choice import Choice, choose
from foundry_edge_runtime.errors import BackendError, BundleError
from foundry_edge_runtime.grouping import group_points
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.profile.model import Profile
from foundry_edge_runtime.readers import as_cloud
from foundry_edge_runtime.result import Latency, Result, top_classes
from foundry_edge_runtime.selection import Notify, select, silent


class Session:
    """Runs clouds on the engine that the budget allows.

    Args:
        bundle: from `load_bundle`; None takes the default one.
        budget: limits and pins; None takes the most accurate rung.
        profile: choose by this profile alone and measure nothing.
        backend: run on this object instead of a backend chosen by name.
        notify: told in one line what is measured, when something is.

    Attributes:
        choice: the engine and why.

    Raises:
        BundleError: the bundle is not what its manifest says.
        InputError: the budget names what the bundle does not have.
        BackendError: the engine cannot be loaded.
    """

    def __init__(
        self,
        bundle: Bundle | None = None,
        budget: Budget | None = None,
        *,
        profile: Profile | None = None,
        backend: Backend | None = None,
        notify: Notify = silent,
    ) -> None:
        self.bundle = bundle or load_bundle()
        self.budget = budget or Budget()
        self.choice, self.profile = self._select(profile, backend, notify)
        self._engine = self._load(backend or get_backend(self.choice.backend))

    def _select(
        self, profile: Profile | None, backend: Backend | None, notify: Notify
    ) -> tuple[Choice, Profile]:
        if profile is None:
            return select(self.bundle, self.budget, backend=backend, notify=notify)
        return choose(self.bundle.manifest, profile, self.budget), profile

    def _load(self, backend: Backend) -> Engine:
        engine = backend.load(self.bundle.graph(self.choice.rung), self.bundle.manifest.preprocessing)
        engine.warm()
        return engine

    def run(self, points: PointCloud | npt.ArrayLike, *, read_ms: float = 0.0) -> Result:
        """Compute one cloud.

        Args:
            points: (N, 3) array of any real type, or what `read_points` gave.
            read_ms: what reading took, for the result's latency.

        Raises:
            ScanError: no valid point.
            BackendError: the engine failed.
        """
        started = time.perf_counter()
        cloud = points if isinstance(points, PointCloud) else as_cloud(points)
        grouped = group_points(cloud.xyz, self.bundle.manifest.preprocessing)
        between = time.perf_counter()
        outputs = self._engine.run(grouped.groups[None], grouped.centers[None])
        ended = time.perf_counter()
        group_ms, engine_ms = (between - started) * 1e3, (ended - between) * 1e3
        logits = self._checked_logits(outputs)
        return Result(
            cloud=cloud,
            bundle=self.bundle,
            choice=self.choice,
            budget=self.budget,
            latency=Latency(read_ms, group_ms, engine_ms, read_ms + group_ms + engine_ms),
            top=None if logits is None else top_classes(logits, self.bundle.manifest.labels),
            tokens=outputs.tokens[0],
            centers=grouped.centers,
            pooled=outputs.pooled[0],
            logits=logits,
        )

    def _checked_logits(self, outputs: Outputs) -> npt.NDArray[np.float32] | None:
        """The logits of the one cloud; features and logits must be finite, labels one for each logit."""
        logits = None if outputs.logits is None else outputs.logits[0]
        if not np.isfinite(outputs.pooled).all() or (logits is not None and not np.isfinite(logits).all()):
            raise BackendError("the engine gave numbers that are not finite", where=self.choice.backend)
        labels = len(self.bundle.manifest.labels)
        if logits is not None and len(logits) != labels:
            raise BundleError(
                f"the graph gives {len(logits)} logits, the manifest {labels} labels",
                where=self.choice.rung.graph.name,
            )
        return logits

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
