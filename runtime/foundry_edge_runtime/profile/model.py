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


class EngineProfile(_Strict):
    """One engine (a rung on a backend), measured. Times are those of a whole batch.

    ``group_ms`` is grouping on the CPU, ``engine_ms`` the engine, ``total_ms`` both for the same cloud.
    ``memory_mb`` is the peak resident memory of a process that does nothing but run this engine; None
    when it was not measured (a quick profile does not).
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
    load_ms: float = Field(ge=0)
    memory_mb: float | None = None
    temperature_c: float | None = Field(
        None, description="hottest zone of the board right after; None: unknown"
    )
    power_w: float | None = Field(None, description="what the board drew right after; None: unknown")
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


class Profile(_Strict):
    """Everything measured for one bundle on one device with one set of versions."""

    schema_version: int = Field(SCHEMA, ge=SCHEMA, le=SCHEMA)
    bundle_id: str
    device: dict[str, str]
    versions: dict[str, str]
    engines: tuple[EngineProfile, ...] = ()
    failures: tuple[EngineFailure, ...] = ()

    def measured(self, rung: Rung) -> tuple[EngineProfile, ...]:
        """Every backend's measurement of this rung at batch 1."""
        return tuple(engine for engine in self.all_of(rung) if engine.batch == 1)

    def all_of(self, rung: Rung) -> tuple[EngineProfile, ...]:
        """Every backend's measurements of this rung at every batch size."""
        return tuple(engine for engine in self.engines if engine.of(rung))

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
        """Whether every rung was measured on some backend, with at least so many runs."""
        return all(any(one.runs >= runs for one in self.measured(rung)) for rung in manifest.rungs)


def _key(result: EngineProfile | EngineFailure) -> tuple[str, str, int]:
    return (rung_name(result.tokens, result.precision, result.bypassed), result.backend, result.batch)
