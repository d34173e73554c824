"""Imports point one way, and the runtime works where torch and onnx cannot be imported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

IMPORT_RUNTIME = """
import importlib, importlib.abc, pkgutil, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "onnx", "lightning", "foundry_edge", "foundry_edge_export"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
import foundry_edge_runtime

for name in foundry_edge_runtime.__all__:
    getattr(foundry_edge_runtime, name)
for module in pkgutil.walk_packages(foundry_edge_runtime.__path__, "foundry_edge_runtime."):
    importlib.import_module(module.name)
    print(module.name)
"""


def test_import_contracts_hold(repository: Path) -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=repository, text=True, capture_output=True, check=False)
    contracts = (repository / "pyproject.toml").read_text().count("[[tool.importlinter.contracts]]")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{contracts} kept, 0 broken" in result.stdout


def test_runtime_imports_with_torch_and_onnx_blocked(repository: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", IMPORT_RUNTIME]
    result = subprocess.run(command, cwd=repository, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (
        len(result.stdout.split())
        == len(list((repository / "runtime/foundry_edge_runtime").rglob("*.py"))) - 1
    )


def test_top_level_folders_of_other_packages_are_no_packages(repository: Path) -> None:
    for folder in ("export", "calibration", "runtime"):
        assert not (repository / folder / "__init__.py").exists()


def test_no_source_file_starts_with_todo(repository: Path) -> None:
    started = re.compile(r'^"""\s*TODO', re.MULTILINE)
    roots = ("foundry_edge", "export", "calibration", "runtime")
    files = [path for root in roots for path in (repository / root).rglob("*.py")]
    assert [str(path) for path in files if started.search(path.read_text(encoding="utf-8"))] == []
