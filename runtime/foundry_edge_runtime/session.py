"""A chosen engine, loaded and ready: points in, result out."""

from __future__ import annotations

import time
from types import TracebackType

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.backends.base import Backend, Outputs
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.errors import BackendError, BundleError, ScanError
from foundry_edge_runtime.grouping import Groups, group_points
from foundry_edge_runtime.opening import Opener
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.profile.model import Profile
from foundry_edge_runtime.readers import as_cloud
from foundry_edge_runtime.result import Latency, Result, top_classes
from foundry_edge_runtime.selection import Notify, silent


class Session:
    """Runs clouds on the engine that the budget allows.

    Args:
        bundle: from `load_bundle`; None takes the default one.
        budget: limits and pins; None takes the most accurate rung.
        profile: choose by this profile alone and measure nothing.
        backend: run on this object instead of a backend chosen by name.
        strict: an unmet budget and a failing engine are errors; otherwise the closest engine is taken,
            and the next best takes the place of one that fails.
        notify: told in one line what is measured and what fails.

    Attributes:
        choice: the engine and why.

    Raises:
        BundleError: the bundle is not what its manifest says.
        InputError: the budget names what the bundle does not have.
        BackendError: no engine can be loaded.
        GateError: ``strict``, and no engine keeps within the budget.
    """

    def __init__(
        self,
        bundle: Bundle | None = None,
        budget: Budget | None = None,
        *,
        profile: Profile | None = None,
        backend: Backend | None = None,
        strict: bool = False,
        notify: Notify = silent,
    ) -> None:
        self.bundle = bundle or load_bundle()
        self.budget = budget or Budget()
        self._opener = Opener(
            self.bundle, self.budget, profile=profile, backend=backend, strict=strict, notify=notify
        )
        self._closed = False
        self.choice, self._engine = self._opener.open()

    def run(self, points: PointCloud | npt.ArrayLike, *, read_ms: float = 0.0) -> Result:
        """Compute one cloud.

        Args:
            points: (N, 3) array of any real type, or what `read_points` gave.
            read_ms: what reading took, for the result's latency.

        Raises:
            ScanError: no valid point, or more than the memory holds.
            BackendError: the engine failed.
        """
        started = time.perf_counter()
        cloud = points if isinstance(points, PointCloud) else as_cloud(points)
        grouped = self._group(cloud)
        between = time.perf_counter()
        outputs = self._compute(grouped)
        ended = time.perf_counter()
        group_ms, engine_ms = (between - started) * 1e3, (ended - between) * 1e3
        logits = None if outputs.logits is None else outputs.logits[0]
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

    def _group(self, cloud: PointCloud) -> Groups:
        try:
            return group_points(cloud.xyz, self.bundle.manifest.preprocessing)
        except MemoryError:
            raise ScanError(
                f"its {len(cloud)} points do not fit into memory", where=cloud.source, remedy="thin it out"
            ) from None

    def _compute(self, grouped: Groups) -> Outputs:
        """One cloud on the engine; a failing engine is replaced, and what it was asked is asked again."""
        while not self._closed:
            try:
                outputs = self._engine.run(grouped.groups[None], grouped.centers[None])
                self._check(outputs)
            except BackendError as error:
                self._engine.close()
                self._opener.failed(self.choice, error)
                self.choice, self._engine = self._opener.open()
            else:
                return outputs
        raise BackendError("the session was closed", where=self.choice.backend)

    def _check(self, outputs: Outputs) -> None:
        """Features and logits must be finite, and there is one label for each logit."""
        finite = np.isfinite(outputs.pooled).all()
        if not (finite and (outputs.logits is None or np.isfinite(outputs.logits).all())):
            raise BackendError("the engine gave numbers that are not finite", where=self.choice.backend)
        labels = len(self.bundle.manifest.labels)
        if outputs.logits is not None and outputs.logits.shape[1] != labels:
            raise BundleError(
                f"the graph gives {outputs.logits.shape[1]} logits, the manifest {labels} labels",
                where=self.choice.rung.graph.name,
            )

    def close(self) -> None:
        """Free the engine; the session cannot run afterwards."""
        self._closed = True
        self._engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
