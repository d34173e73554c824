"""Fixtures of the whole suite. Runs before torch is imported anywhere, so it can set the environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
GPU_SWITCH = "FOUNDRY_EDGE_GPU_TESTS"

if os.environ.get(GPU_SWITCH) != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "2")
os.environ.setdefault("NUMBA_CACHE_DIR", str(REPOSITORY / ".pytest_cache" / "numba"))  # compiled once for all
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # as the runtime does, for tests that import it first
os.environ.pop("FOUNDRY_EDGE_BUNDLE", None)  # tests name their bundle, or mean the embedded one


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data sets, scans and reference models that lies beside the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"needs the data folder {os.path.relpath(SHARED, REPOSITORY)} beside the repository")
    return SHARED
