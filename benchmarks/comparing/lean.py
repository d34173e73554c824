"""Peak memory of one graph without torch in the process: what a device that only runs engines needs.

    python -m benchmarks.comparing.lean FOLDER RUNG THREADS PROVIDER GROUPS SIZE BATCH...

RUNG is a rung of the bundle FOLDER, or the file name of a plain graph in it. Prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from foundry_edge_runtime.backends.ort import PROVIDERS, OnnxRuntimeBackend
from foundry_edge_runtime.bundle import load_bundle
from foundry_edge_runtime.device import resident_mb


def opened(folder: Path, name: str, threads: int, provider: str) -> Any:
    """What runs groups and centres."""
    if not name.endswith(".onnx"):
        bundle = load_bundle(folder)
        rung = next(one for one in bundle.manifest.rungs if one.name == name)
        backend = OnnxRuntimeBackend(provider, threads)
        return backend.load(bundle.graph(rung), bundle.manifest.preprocessing).run
    library = importlib.import_module("onnxruntime")
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    wanted = PROVIDERS[provider]
    session = library.InferenceSession(str(folder / name), options, providers=[wanted])
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"ONNX Runtime has no {wanted} here")
    return lambda groups, centers: session.run(None, {"groups": groups, "centers": centers})


def main(arguments: list[str]) -> int:
    """Run two batches of every size, ascending, and print the peak after each in MiB."""
    folder, name, threads, provider, *numbers = arguments
    groups, size, *batches = map(int, numbers)
    run = opened(Path(folder), name, int(threads), provider)
    found = {}
    for batch in sorted(batches):
        for _ in range(2):
            run(np.zeros((batch, groups, size, 3), np.float32), np.zeros((batch, groups, 3), np.float32))
        found[str(batch)] = resident_mb(peak=True)
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
