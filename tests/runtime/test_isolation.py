"""The runtime computes a scan where torch and onnx cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = """
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "onnxscript", "lightning", "sklearn", "foundry_edge"}:
            raise ModuleNotFoundError(f"{name} is blocked in this test", name=name)

sys.meta_path.insert(0, Blocked())
"""
RUN = """
import numpy as np
from foundry_edge_runtime import Budget, Session, load_bundle

result = Session(load_bundle(sys.argv[1]), Budget(max_latency_ms=1000, max_memory_mb=4000)).run(np.eye(3))
print(result.as_json()["prediction"]["top"][0]["label"])
"""
LIGHT = """
import foundry_edge_runtime
heavy = {"numpy", "onnxruntime", "pydantic", "rich", "typer"} & set(sys.modules)
print(sorted(heavy))
"""


def python(code: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "error", "-c", BLOCK + code, *map(str, arguments)]
    done = subprocess.run(command, text=True, capture_output=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.usefixtures("cache")
def test_scan_is_computed_without_torch_and_onnx(bundle_folder: Path) -> None:
    assert python(RUN, bundle_folder) in {"chair", "table", "lamp", "sofa", "bed", "desk"}


def test_importing_the_package_loads_nothing() -> None:
    assert python(LIGHT) == "[]"


def test_every_public_name_is_there_and_none_other() -> None:
    import foundry_edge_runtime as package

    assert dir(package) == sorted(package.__all__) == sorted(package._HOMES)
    for name in package.__all__:
        assert getattr(package, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        package.Sesion  # noqa: B018
