"""Peak memory of one graph without torch in the process: what a device that only runs engines needs.

    python -m benchmarks.comparing.lean FOLDER RUNG BACKEND THREADS GROUPS SIZE BATCH...

RUNG is a rung of the bundle FOLDER, or the file name of a plain graph in it. Prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from foundry_edge_runtime.backends.ort import OnnxRuntimeBackend
from foundry_edge_runtime.backends.providers import PROVIDERS
from foundry_edge_runtime.backends.registry import DEFAULT, available_backend
from foundry_edge_runtime.backends.threads import set_threads
from foundry_edge_runtime.bundle import load_bundle
from foundry_edge_runtime.device import resident_mb


def opened(folder: Path, name: str, backend: str, threads: int) -> Any:
    """What runs groups and centres on a backend of that name."""
    if not name.endswith(".onnx"):
        bundle = load_bundle(folder)
        rung = next(one for one in bundle.manifest.rungs if one.name == name)
        on_cpu = backend == DEFAULT
        engines = OnnxRuntimeBackend("cpu", threads) if on_cpu else available_backend(backend)
        return engines.load(bundle.graph(rung), bundle.manifest.preprocessing).run
    library = importlib.import_module("onnxruntime")
    options = library.SessionOptions()
    set_threads(options, threads)
    wanted = PROVIDERS[backend.partition(":")[2] or "cpu"]
    session = library.InferenceSession(str(folder / name), options, providers=[wanted])
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"ONNX Runtime has no {wanted} here")
    return lambda groups, centers: session.run(None, {"groups": groups, "centers": centers})


def gpu_mb() -> float | None:
    """What this process holds of the GPU's memory in MiB; None where NVIDIA's driver does not tell."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    mine = (line.split(",") for line in done.stdout.splitlines())
    used = [row[1].strip() for row in mine if len(row) == 2 and row[0].strip() == str(os.getpid())]
    return float(used[0]) if used and used[0].isdigit() else None


def main(arguments: list[str]) -> int:
    """Run two batches of every size, ascending, and print the peak after each in MiB."""
    folder, name, backend, *numbers = arguments
    threads, groups, size, *batches = map(int, numbers)
    run = opened(Path(folder), name, backend, threads)
    found: dict[str, float | None] = {}
    for batch in sorted(batches):
        for _ in range(2):
            run(np.zeros((batch, groups, size, 3), np.float32), np.zeros((batch, groups, 3), np.float32))
        found[str(batch)] = resident_mb(peak=True)
    if backend != DEFAULT:
        found["gpu"] = gpu_mb()
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
