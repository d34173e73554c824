"""A chosen engine, loaded and ready: points in, result out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime import feeding
from foundry_edge_runtime.backends.base import Backend, Outputs
from foundry_edge_runtime.batches import best_batch, engine_seconds
from foundry_edge_runtime.budget import Budget, budget_of
from foundry_edge_runtime.bundle.load import Bundle, opened
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.errors import BackendError, BundleError, DeviceError, ScanError
from foundry_edge_runtime.opening import Opener, check_holdable
from foundry_edge_runtime.parts.segmenter import Segmented, segmenter
from foundry_edge_runtime.pointcloud import FloatArray, PointCloud
from foundry_edge_runtime.profile.model import Profile
from foundry_edge_runtime.readers import as_cloud
from foundry_edge_runtime.result import Latency, Result, top_classes
from foundry_edge_runtime.selection import Notify, silent


@dataclass(frozen=True)
class Prepared:
    """A cloud that was read and made ready for the engine, and how long both took in ms."""

    cloud: PointCloud
    ready: feeding.Ready
    read_ms: float
    group_ms: float


class Session:
    """Runs clouds on the engine that the budget allows.

    Args:
        bundle: from `load_bundle`; None takes the default one.
        budget: limits and pins; None takes the most accurate rung.
        profile: choose by this profile alone and measure nothing.
        backend: run on this object instead of a backend chosen by name.
        strict: an unmet budget and a failing engine are errors; otherwise the closest engine is taken,
            and the next best takes the place of one that fails. A scan that breaks the budget all the same
            is a result with ``kept`` false.
        adaptive: hold ``budget.max_latency_ms`` while conditions change, by switching engines.
        parts: name the part of every point, too.
        category: whose parts; None takes the most probable class that has parts, scan by scan.
        notify: told in one line what is measured and what fails.

    Attributes:
        choice: the engine and why.
        rungs: when adaptive, the engines kept warm.

    Raises:
        BundleError: the bundle is not what its manifest says.
        InputError: the budget names what the bundle does not have, or so does ``parts`` or ``category``;
            an argument is of another type, or ``adaptive`` without a latency to hold.
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
        adaptive: bool = False,
        parts: bool = False,
        category: str | None = None,
        notify: Notify = silent,
    ) -> None:
        self.bundle, self.budget = opened(bundle), budget_of(budget)
        self._segmenter = segmenter(self.bundle, parts, category)
        self._opener = Opener(
            self.bundle, self.budget, profile=profile, backend=backend, strict=strict, notify=notify
        )
        self._closed = False
        if adaptive:
            check_holdable(self.budget)
        with ExitStack() as undo:
            self.choice, self._engine = self._opener.open()
            undo.callback(self._engine.close)
            self.rungs = self._opener.warm(self.choice, self._engine) if adaptive else None
            undo.pop_all()

    def run(self, points: PointCloud | npt.ArrayLike, *, read_ms: float = 0.0) -> Result:
        """Compute one cloud.

        Args:
            points: (N, 3) array of any real type, or what `read_points` gave.
            read_ms: what reading took, for the result's latency.

        Raises:
            ScanError: no valid point, or more than the memory holds.
            InputError: parts are wanted, no category was named, and the engine names no class.
            BackendError: the engine failed.
        """
        return self.compute([self.prepare(points, read_ms=read_ms)])[0]

    def prepare(self, points: PointCloud | npt.ArrayLike, *, read_ms: float = 0.0) -> Prepared:
        """Check and group one cloud, or sample it where the engine groups; arguments and errors as `run`."""
        started = time.perf_counter()
        cloud = points if isinstance(points, PointCloud) else as_cloud(points)
        ready = self._make_ready(cloud)
        return Prepared(cloud, ready, read_ms, (time.perf_counter() - started) * 1e3)

    def compute(self, batch: Sequence[Prepared]) -> list[Result]:
        """Run clouds through the engine at once; each is charged its share of the engine's time.

        Raises:
            BackendError: the engine failed, and so did every other that may be used.
        """
        started = time.perf_counter()
        outputs, centers = self._compute([one.ready for one in batch])
        engine_ms = (time.perf_counter() - started) * 1e3 / len(batch)
        results = [self._result(one, outputs, centers[row], row, engine_ms) for row, one in enumerate(batch)]
        if self.rungs is not None:
            for result in results:
                latency = result.latency.group + result.latency.engine
                self.choice, self._engine = self.rungs.observe(latency)
        return results

    def _result(
        self, one: Prepared, outputs: Outputs, centers: FloatArray, row: int, engine_ms: float
    ) -> Result:
        logits = None if outputs.logits is None else outputs.logits[row]
        parts, doubt = self._parts(one, outputs.tokens[row], centers, logits)
        total = one.read_ms + one.group_ms + engine_ms
        return Result(
            cloud=one.cloud,
            bundle=self.bundle,
            choice=self.choice,
            budget=self.budget,
            latency=Latency(one.read_ms, one.group_ms, engine_ms, total),
            top=None if logits is None else top_classes(logits, self.bundle.manifest.labels),
            tokens=outputs.tokens[row],
            centers=centers,
            pooled=outputs.pooled[row],
            logits=logits,
            parts=parts,
            parts_warning=doubt,
            peak_mb=None if self.budget.max_memory_mb is None else resident_mb(peak=True),
        )

    def _parts(
        self, one: Prepared, tokens: FloatArray, centers: FloatArray, logits: FloatArray | None
    ) -> Segmented:
        if self._segmenter is None:
            return Segmented(None, "")
        return self._segmenter.parts(one.cloud, tokens, centers, logits)

    def _make_ready(self, cloud: PointCloud) -> feeding.Ready:
        try:
            return feeding.make_ready(cloud.xyz, self.bundle.manifest.preprocessing, self._engine)
        except MemoryError:
            raise ScanError(
                f"its {len(cloud)} points do not fit into memory", where=cloud.source, remedy="thin it out"
            ) from None

    def _compute(self, batch: Sequence[feeding.Ready]) -> tuple[Outputs, FloatArray]:
        """A batch on the engine; a failing engine is replaced, and what it was asked is asked again."""
        while not self._closed:
            try:
                outputs, centers = feeding.compute(self._engine, batch, self.bundle.manifest.preprocessing)
                self._check(outputs)
            except BackendError as error:
                self._replace(error)
            else:
                return outputs, centers
        raise BackendError("the session was closed", where=self.choice.backend)

    def _replace(self, error: BackendError) -> None:
        """The next engine in the place of the one that failed: a warm one, else the best that loads."""
        self._engine.close()
        self._opener.failed(self.choice, error)
        lost = isinstance(error, DeviceError)
        warm = self.rungs.remove(all_of_backend=lost) if self.rungs is not None else None
        if warm is None:
            self.rungs = None
            warm = self._opener.open()
        self.choice, self._engine = warm

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

    def best_batch(self) -> int:
        """How many scans at once give this engine its highest throughput here; measured now, up to 32.

        Raises:
            BackendError: the engine failed.
        """
        spec = self.bundle.manifest.preprocessing
        return best_batch(lambda size: engine_seconds(self._engine, spec, size))

    def close(self) -> None:
        """Free the engine; the session cannot run afterwards."""
        self._closed = True
        for engine in [self._engine] if self.rungs is None else self.rungs.engines:
            engine.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
