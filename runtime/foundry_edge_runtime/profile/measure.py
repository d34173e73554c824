"""Measuring one engine: load, warm up, then time grouping and engine apart on the same cloud.

Where the engine groups, grouping is part of its time, and sampling alone is left of the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from foundry_edge_runtime import feeding
from foundry_edge_runtime.backends.base import Backend, Engine
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.bundle.manifest import Rung
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.profile.model import EngineProfile, Quantiles, SplitMs

Sense = Callable[[], dict[str, float | None]]


@dataclass(frozen=True)
class Effort:
    """How long to measure one engine.

    Attributes:
        warm_runs, warm_seconds: warm-up; both are reached before anything is timed.
        runs: at least this many timed runs.
        seconds: at least this long, unless ``most`` runs are done.
        most: at most this many timed runs.
    """

    warm_runs: int
    warm_seconds: float
    runs: int
    seconds: float
    most: int


_TIMES = 4  # more points than are sampled, as real scans have

QUICK = Effort(warm_runs=1, warm_seconds=0.0, runs=3, seconds=0.1, most=21)
THOROUGH = Effort(warm_runs=5, warm_seconds=0.2, runs=50, seconds=0.5, most=500)
"""Of one visit; `bench` visits each engine twice."""


def benchmark_cloud(spec: Preprocessing) -> FloatArray:
    """The cloud all engines are measured on: 4 N points on an ellipsoid, the same every time.

    Returns:
        (4 N, 3) float32.
    """
    points = np.random.default_rng(0).normal(size=(usual_points(spec), 3))
    points *= np.array((1.0, 0.7, 0.4)) / np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32)


def usual_points(spec: Preprocessing) -> int:
    """How many points the cloud has that all engines are measured on."""
    return _TIMES * spec.points


class Visit(NamedTuple):
    """What was seen of an engine in one stretch of time.

    Attributes:
        profile: the figures.
        group_ms, engine_ms: the times that they are of, one pair for each run.
    """

    profile: EngineProfile
    group_ms: list[float]
    engine_ms: list[float]


def measure(bundle: Bundle, rung: Rung, backend: Backend, effort: Effort, *, batch: int = 1) -> EngineProfile:
    """The figures of one `visit`."""
    return visit(bundle, rung, backend, effort, batch=batch).profile


def pooled(first: Visit, second: Visit) -> EngineProfile:
    """The figures of two visits to one engine: all times together, the larger memory, the later sensors."""
    figures = second.profile
    memory = [one.profile.memory_mb for one in (first, second) if one.profile.memory_mb is not None]
    group_ms, engine_ms = first.group_ms + second.group_ms, first.engine_ms + second.engine_ms
    update = {"load_ms": max(first.profile.load_ms, figures.load_ms), "memory_mb": max(memory, default=None)}
    return figures.model_copy(update=_times(group_ms, engine_ms) | update)


def _times(group_ms: list[float], engine_ms: list[float]) -> dict[str, Any]:
    """The fields of a profile that times alone decide."""
    return {
        "group_ms": Quantiles.of(group_ms),
        "engine_ms": Quantiles.of(engine_ms),
        "total_ms": Quantiles.of([a + b for a, b in zip(group_ms, engine_ms, strict=True)]),
        "runs": len(engine_ms),
    }


def visit(
    bundle: Bundle,
    rung: Rung,
    backend: Backend,
    effort: Effort,
    *,
    batch: int = 1,
    sense: Sense | None = None,
) -> Visit:
    """Load a rung on a backend and measure it, ``batch`` clouds at a time.

    Args:
        bundle: holds the rung.
        rung: what to measure.
        backend: what to load it on.
        effort: how long.
        batch: clouds at a time.
        sense: reads sensors, as fields of the profile; called once while the engine works on, untimed.

    Raises:
        BackendError: it cannot be loaded or run.
        BundleError: its files are not what the manifest says.
    """
    start = time.perf_counter()
    engine = backend.load(bundle.graph(rung), bundle.manifest.preprocessing)
    load_ms = (time.perf_counter() - start) * 1e3
    try:
        group_ms, engine_ms = time_engine(engine, bundle.manifest.preprocessing, effort, batch)
        sensed = {} if sense is None else _sensed(engine, bundle.manifest.preprocessing, batch, sense)
        split_ms = split_engine(engine, bundle.manifest.preprocessing, effort, batch)
        gpu_grouping = feeding.grouping_engine(engine) is not None
    finally:
        engine.close()
    profile = EngineProfile(
        tokens=rung.tokens,
        bypassed=rung.bypassed,
        precision=rung.precision,
        backend=backend.name,
        graph_sha256=rung.graph.sha256,
        weights_sha256=rung.weights.sha256,
        batch=batch,
        **_times(group_ms, engine_ms),
        plan_sha256=engine.describe().plan,
        split_ms=split_ms,
        gpu_grouping=gpu_grouping,
        load_ms=load_ms,
        **sensed,
    )
    return Visit(profile, group_ms, engine_ms)


def split_engine(engine: Engine, spec: Preprocessing, effort: Effort, batch: int = 1) -> SplitMs | None:
    """Where the engine's time goes, as medians; None when the engine does not tell."""
    clouds = [feeding.make_ready(benchmark_cloud(spec), spec, engine)] * batch
    found = [one for _ in range(effort.runs) if (one := feeding.split(engine, clouds, spec))]
    if not found:
        return None
    return SplitMs(
        copy_in=median(one.copy_in_ms for one in found),
        enqueue=median(one.enqueue_ms for one in found),
        gpu=median(one.gpu_ms for one in found),
        copy_out=median(one.copy_out_ms for one in found),
    )


def time_engine(
    engine: Engine, spec: Preprocessing, effort: Effort, batch: int = 1
) -> tuple[list[float], list[float]]:
    """Time batches of the benchmark cloud, each cloud grouped anew.

    Returns:
        Grouping and engine times of a batch in ms, one pair for each run; the CPU's part of grouping, and all
        that follows.
    """
    cloud = benchmark_cloud(spec)
    begin = time.perf_counter()
    warm = 0
    while warm < effort.warm_runs or time.perf_counter() - begin < effort.warm_seconds:
        _time_once(engine, cloud, spec, batch)
        warm += 1
    times: list[tuple[float, float]] = []
    begin = time.perf_counter()
    while len(times) < effort.runs or (
        time.perf_counter() - begin < effort.seconds and len(times) < effort.most
    ):
        times.append(_time_once(engine, cloud, spec, batch))
    return [group_ms for group_ms, _ in times], [engine_ms for _, engine_ms in times]


def _sensed(engine: Engine, spec: Preprocessing, batch: int, sense: Sense) -> dict[str, float | None]:
    """What sensors tell under the load of the timed runs."""
    cloud = benchmark_cloud(spec)
    with ThreadPoolExecutor(1) as reader:
        told = reader.submit(sense)
        while not told.done():
            _time_once(engine, cloud, spec, batch)
    return told.result()


def _time_once(engine: Engine, cloud: FloatArray, spec: Preprocessing, batch: int) -> tuple[float, float]:
    started = time.perf_counter()
    clouds = [feeding.make_ready(cloud, spec, engine) for _ in range(batch)]
    between = time.perf_counter()
    feeding.compute(engine, clouds, spec)
    return (between - started) * 1e3, (time.perf_counter() - between) * 1e3
