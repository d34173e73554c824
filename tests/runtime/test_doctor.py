"""What `doctor` sees."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from foundry_edge_runtime import doctor as module
from foundry_edge_runtime.doctor import doctor, extras


def test_healthy_installation(bundle_folder: Path, cache: Path) -> None:
    found = doctor(bundle_folder)
    record = found.as_json()
    assert found.healthy
    assert json.loads(json.dumps(record)) == record
    assert record["versions"]["foundry-edge"] == metadata.version("foundry-edge")
    assert record["bundle"]["rungs"] == ["s1-fp32", "s4-fp32", "s1-int8", "s4-int8"]
    assert record["bundle"]["files_verified"] == 6
    assert record["cache"] == {"folder": str(cache), "writable": True}
    assert record["grouping"]["name"] in {"compiled", "numpy"}
    assert record["grouping"]["detail"]
    assert not cache.exists()


def test_damaged_bundle_is_reported_and_not_raised(bundle_folder: Path) -> None:
    (bundle_folder / "fp32.bin").unlink()
    found = doctor(bundle_folder)
    assert not found.healthy
    assert "fp32.bin: cannot be opened" in found.bundle["error"]


def test_missing_extra_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "numpy>=1",
        'torch>=2.10; extra == "train"',
        "onnx >=1.21 ; extra == 'export'",
        'foundry-edge[train]; extra == "export"',
        'pytest; extra == "dev"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda _: requirements)
    monkeypatch.setattr(module, "_installed", lambda name: name == "onnx")
    found = {extra.name: extra for extra in extras()}
    assert set(found) == {"train", "export"}
    assert found["export"].missing == ("torch",)
    assert found["export"].command == "pip install 'foundry-edge[export]'"


def test_every_declared_extra_is_listed() -> None:
    declared = set(metadata.metadata("foundry-edge").get_all("Provides-Extra") or ()) - {"dev"}
    assert {extra.name for extra in extras()} == declared
