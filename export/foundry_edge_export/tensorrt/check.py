"""Does a plan compute what its graph says? Both are run on the same clouds, on the device."""

from __future__ import annotations

import numpy as np

from foundry_edge_export.tensorrt.compiler import find_rung
from foundry_edge_runtime.backends.base import Engine
from foundry_edge_runtime.backends.ort import OnnxRuntimeBackend
from foundry_edge_runtime.backends.trt import TensorRtBackend
from foundry_edge_runtime.bundle import load_bundle
from foundry_edge_runtime.grouping import Preprocessing, group_points
from foundry_edge_runtime.plans import PlanCheck
from foundry_edge_runtime.pointcloud import FloatArray

SAMPLES = 8
COSINE = {"fp32": 0.9999}
"""Lowest mean token cosine by precision; others: `COSINE_REDUCED`."""
COSINE_REDUCED = 0.999


def check_plan(plan: bytes, backend: str, folder: str, rung: str, max_batch: int) -> PlanCheck:
    """Run a plan through its backend, and compare with ONNX Runtime on the CPU.

    Args:
        plan: made here, or read from the store.
        backend: "tensorrt" or "tensorrt-rtx".
        folder: the bundle.
        rung: name of the rung.
        max_batch: largest batch of the plan; batches of 1 and of this size are run.

    Raises:
        BackendError: the plan does not load or run.
    """
    bundle = load_bundle(folder)
    spec = bundle.manifest.preprocessing
    graph = bundle.graph(find_rung(bundle, rung))
    groups, centers = check_clouds(spec, max(SAMPLES, max_batch + 1))
    reference = OnnxRuntimeBackend("cpu").load(graph, spec)
    engine = TensorRtBackend(backend, grouping=False).load_plan(plan, spec)
    try:
        return compare(
            _tokens(engine, groups, centers, max_batch), _tokens(reference, groups, centers, max_batch)
        )
    finally:
        engine.close()
        reference.close()


def check_clouds(spec: Preprocessing, count: int) -> tuple[FloatArray, FloatArray]:
    """Grouped clouds of made-up shapes, the same every time.

    Returns:
        (count, c, K, 3) groups and (count, c, 3) centres, float32.
    """
    random = np.random.default_rng(20)
    grouped = []
    for _ in range(count):
        points = random.normal(size=(4 * spec.points, 3)) * random.uniform(0.2, 1.0, size=3)
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), random.uniform(0.2, 0.8))
        grouped.append(group_points(points.astype(np.float32), spec))
    return np.stack([one.groups for one in grouped]), np.stack([one.centers for one in grouped])


def _tokens(engine: Engine, groups: FloatArray, centers: FloatArray, max_batch: int) -> FloatArray:
    """(n, c, d) tokens: the first cloud alone, the others in batches as large as the plan takes."""
    starts = [0, *range(1, len(groups), max_batch)]
    ends = [*starts[1:], len(groups)]
    parts = [engine.run(groups[a:b], centers[a:b]).tokens for a, b in zip(starts, ends, strict=True)]
    return np.concatenate(parts)


def compare(found: FloatArray, expected: FloatArray) -> PlanCheck:
    """Differences of (n, c, d) tokens, in float64."""
    ours, theirs = found.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
    cosine = (ours * theirs).sum(axis=-1) / np.maximum(norms, 1e-30)
    finite = bool(np.isfinite(ours).all())
    return PlanCheck(
        max_abs=float(np.abs(ours - theirs).max()) if finite else float(np.finfo(np.float64).max),
        cosine_mean=float(cosine.mean()) if finite else -1.0,
        cosine_worst=float(cosine.mean(axis=1).min()) if finite else -1.0,
        samples=len(ours),
    )


def acceptable(check: PlanCheck, precision: str) -> bool:
    """Whether the plan may be used."""
    return check.cosine_mean >= COSINE.get(precision, COSINE_REDUCED)
