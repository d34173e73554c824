"""Real builds by tensorrt_rtx, which needs no GPU; skipped with the reason where it is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from foundry_edge_export.tensorrt.builder import build
from foundry_edge_export.tensorrt.report import BuildReport
from foundry_edge_runtime.cache import CACHE_VARIABLE
from tests.runtime.tiny_bundle import write_bundle

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def rtx() -> None:
    """Needs TensorRT-RTX."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed: pip install 'foundry-edge[tensorrt-rtx]'")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two budgets in FP32 and INT8. Not to be changed."""
    return write_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the plans, in a cache of this test alone; not there yet."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "plans"


@pytest.fixture(scope="session")
def built(rtx: None, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildReport:
    """Every rung of the tiny bundle, built once. Its cache is not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("built")))
        return build(bundle, backend="tensorrt-rtx", ahead=True)


def command(*arguments: object) -> list[str]:
    """The installed command line."""
    return [str(Path(sys.executable).with_name("foundry-edge")), *map(str, arguments)]


@pytest.fixture
def foundry_edge(cache: Path, tmp_path: Path) -> Run:
    """Runs the installed command with the cache of this test."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    return run
