"""A tiny bundle, and a cache folder of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.tiny_bundle import write_bundle


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(folder))
    return folder
