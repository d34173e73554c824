"""Tests that need an NVIDIA GPU; elsewhere they skip and say what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import GPU_SWITCH
from tests.runtime.tiny_bundle import write_bundle

_TRY = "from foundry_edge_runtime.backends.cuda.identity import this_device; print(this_device().name)"


@pytest.fixture(scope="session")
def gpu() -> str:
    """The GPU's name; found out in a process of its own, because a driver may crash."""
    if os.environ.get(GPU_SWITCH) != "1":
        pytest.skip(f"GPU tests run with {GPU_SWITCH}=1")
    done = subprocess.run(
        [sys.executable, "-c", _TRY], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        pytest.skip(f"no usable GPU: {next(iter(done.stderr.strip().splitlines()[-1:]), done.returncode)}")
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def needed(gpu: str) -> None:
    """Every test of this folder needs it."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(folder))
    return folder


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    """The tiny bundle of the runtime's tests."""
    return write_bundle(tmp_path / "bundle")
