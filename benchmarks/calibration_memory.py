"""Peak memory of calibrating a ViT-S student on 512 clouds: activations are counted, not kept.

    python -m benchmarks.calibration_memory

A fresh process traces the graph, another runs the clouds and fills the histograms of every linear map's
input; its peak resident memory is what counts. Writes benchmarks/results/calibration_memory.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

from benchmarks.measured import keep
from foundry_edge_calibration.engine import Array
from foundry_edge_calibration.placement import linear_sites
from foundry_edge_calibration.ranges import observe
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.grouping import Preprocessing

LIMIT_MB = 1500


def main() -> None:
    """Measure, print, write; exit 1 above the limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clouds", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--graph", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.graph:
        print(json.dumps(_calibrate(options.graph, options.clouds)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        _trace(path, options.tokens)
        command = [
            sys.executable,
            "-m",
            "benchmarks.calibration_memory",
            "--graph",
            str(path),
            "--clouds",
            str(options.clouds),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    record = {"model": "ViT-S", "limit_mb": LIMIT_MB, **json.loads(done.stdout)}
    print(record, keep("calibration_memory", record))
    sys.exit(int(record["peak_mb"] > LIMIT_MB))


def _trace(path: Path, tokens: int) -> None:
    """The graph of a ViT-S student with random weights."""
    from foundry_edge.models.config import VIT_S, StudentConfig
    from foundry_edge.models.student import Student
    from foundry_edge_export.graph import trace

    onnx.save(trace(Student(StudentConfig(teacher=VIT_S, tokens=(tokens,))), tokens), path)


def _calibrate(path: Path, count: int) -> dict[str, float | int]:
    model = onnx.load(path)
    before, start = resident_mb(peak=True), time.perf_counter()
    tensors = tuple(dict.fromkeys(site.activation for site in linear_sites(model)))
    observation = observe(model, tensors, *_clouds(count))
    for method in ("mse", "entropy", "percentile", "minmax"):
        observation.ranges(method)
    return {
        "clouds": count,
        "tensors": len(tensors),
        "peak_mb": round(resident_mb(peak=True) or 0.0, 1),
        "before_mb": round(before or 0.0, 1),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _clouds(count: int) -> tuple[Array, Array]:
    """Random groups and centres; what they hold does not change what must be kept."""
    spec, rng = Preprocessing(), np.random.default_rng(0)
    groups = rng.normal(size=(count, spec.groups, spec.group_size, 3)).astype(np.float32) * np.float32(0.1)
    return groups, rng.uniform(-1, 1, size=(count, spec.groups, 3)).astype(np.float32)


if __name__ == "__main__":
    main()
