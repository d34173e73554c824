"""What was measured on this device: the schema of a stored profile."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from foundry_edge_runtime.bundle.manifest import Manifest, Rung, rung_name

SCHEMA = 1


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quantiles(_Strict):
    """Latency in ms."""

    p50: float = Field(ge=0)
    p90: float = Field(ge=0)
    p99: float = Field(ge=0)

    @classmethod
    def of(cls, values: list[float]) -> Quantiles:
        """Quantiles of measured values; the higher neighbour, so that few values never flatter."""
        p50, p90, p99 = np.quantile(values, [0.5, 0.9, 0.99], method="higher")
        return cls(p50=float(p50), p90=float(p90), p99=float(p99))


class SplitMs(_Strict):
    """Where the engine's time goes, medians in ms; see `Split`."""

    copy_in: float = Field(ge=0)
    enqueue: float = Field(ge=0)
    gpu: float = Field(ge=0)
    copy_out: float = Field(ge=0)


class EngineProfile(_Strict):
    """One engine (a rung on a backend), measured. Times are those of a whole batch.

    ``group_ms`` is grouping on the CPU, ``engine_ms`` the engine, ``total_ms`` both for the same cloud. With
    ``gpu_grouping`` the engine groups: then the first is sampling alone, and grouping is in the second.
    ``memory_mb`` is the peak resident memory of a process that does nothing but run this engine; None
    when it was not measured (a quick profile does not). ``plan_sha256`` is that of the plan it was made from,
    "" for engines that are made from the graph. ``split_ms`` is None where the backend does not tell.
    """

    tokens: int
    bypassed: int = 0
    precision: str
    backend: str
    graph_sha256: str
    weights_sha256: str
    batch: int = Field(1, ge=1)
    group_ms: Quantiles
    engine_ms: Quantiles
    total_ms: Quantiles
    plan_sha256: str = ""
    split_ms: SplitMs | None = None
    gpu_grouping: bool = False
    load_ms: float = Field(ge=0)
    memory_mb: float | None = None
    temperature_c: float | None = Field(
        None, description="hottest zone of the board while it ran; None: unknown"
    )
    power_w: float | None = Field(None, description="what the board drew while it ran; None: unknown")
    runs: int = Field(ge=1)

    @property
    def clouds_per_second(self) -> float:
        """Throughput at this batch size, by the median."""
        return 1e3 * self.batch / self.total_ms.p50

    def of(self, rung: Rung) -> bool:
        """Whether it was measured on the very files of this rung."""
        mine = (self.tokens, self.bypassed, self.precision, self.graph_sha256, self.weights_sha256)
        theirs = (rung.tokens, rung.bypassed, rung.precision, rung.graph.sha256, rung.weights.sha256)
        return mine == theirs


class EngineFailure(_Strict):
    """A rung that could not be measured on a backend, and why."""

    tokens: int
    bypassed: int = 0
    precision: str
    backend: str
    batch: int = Field(1, ge=1)
    reason: str

    @classmethod
    def of(cls, rung: Rung, backend: str, reason: object, batch: int = 1) -> EngineFailure:
        """The failure of this rung on a backend."""
        return cls(
            tokens=rung.tokens,
            bypassed=rung.bypassed,
            precision=rung.precision,
            backend=backend,
            batch=batch,
            reason=str(reason),
        )


class Planned(_Strict):
    """An engine that was built ahead and may run here: rung, backend, and the hash of its plan."""

    rung: str
    backend: str
    plan_sha256: str


class Profile(_Strict):
    """Everything measured for one bundle on one device with one set of versions.

    ``planned`` are the engines built ahead that may run here at the moment, None when they were not looked
    for; they are found anew each time and not stored. What was measured of a plan counts only while that plan
    is among them.
    """

    schema_version: int = Field(SCHEMA, ge=SCHEMA, le=SCHEMA)
    bundle_id: str
    device: dict[str, str]
    versions: dict[str, str]
    engines: tuple[EngineProfile, ...] = ()
    failures: tuple[EngineFailure, ...] = ()
    planned: tuple[Planned, ...] | None = None

    def backends(self, rung: Rung) -> tuple[str, ...]:
        """The backends that have a plan of this rung, unless the engine failed."""
        return tuple(
            one.backend
            for one in self.planned or ()
            if one.rung == rung.name and not self.failed(rung, one.backend)
        )

    def measured(self, rung: Rung) -> tuple[EngineProfile, ...]:
        """Every backend's measurement of this rung at batch 1."""
        return tuple(engine for engine in self.all_of(rung) if engine.batch == 1)

    def all_of(self, rung: Rung) -> tuple[EngineProfile, ...]:
        """Every backend's measurements of this rung at every batch size."""
        plans = {(one.backend, one.plan_sha256) for one in self.planned or () if one.rung == rung.name}
        return tuple(
            one
            for one in self.engines
            if one.of(rung) and (not one.plan_sha256 or (one.backend, one.plan_sha256) in plans)
        )

    def failed(self, rung: Rung, backend: str) -> bool:
        """Whether this rung could not be measured on the backend."""
        return (rung.name, backend, 1) in map(_key, self.failures)

    def add(self, *results: EngineProfile | EngineFailure) -> Profile:
        """A profile with these results in the place of earlier ones of the same engine."""
        new = {_key(result) for result in results}
        everything: list[EngineProfile | EngineFailure] = [*self.engines, *self.failures]
        everything = [*(old for old in everything if _key(old) not in new), *results]
        return self.model_copy(
            update={
                "engines": tuple(e for e in everything if isinstance(e, EngineProfile)),
                "failures": tuple(f for f in everything if isinstance(f, EngineFailure)),
            }
        )

    def complete(self, manifest: Manifest, runs: int = 1) -> bool:
        """Whether every rung was measured, so many runs, somewhere and wherever it was built for."""
        return not any(self.lacks(rung, runs) for rung in manifest.rungs)

    def lacks(self, rung: Rung, runs: int = 1) -> bool:
        """Whether a rung was measured nowhere, or not on a backend it was built for."""
        known = {one.backend for one in self.measured(rung) if one.runs >= runs}
        return not known or not known.issuperset(self.backends(rung))


def _key(result: EngineProfile | EngineFailure) -> tuple[str, str, int]:
    return (rung_name(result.tokens, result.precision, result.bypassed), result.backend, result.batch)
