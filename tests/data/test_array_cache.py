from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from foundry_edge.data.array_cache import kept
from foundry_edge.data.groupings import cached_groupings
from foundry_edge_runtime.cache import CACHE_VARIABLE
from foundry_edge_runtime.grouping import Preprocessing


def test_arrays_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    made = kept("kind", "key", lambda: np.arange(3))
    again = kept("kind", "key", lambda: pytest.fail("made again"))
    assert np.array_equal(made, again)


def test_damaged_arrays_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind" / "key.npy").write_bytes(b"no array")
    assert np.array_equal(kept("kind", "key", lambda: np.arange(3)), np.arange(3))
    assert np.array_equal(np.load(tmp_path / "kind" / "key.npy"), np.arange(3))


def test_a_cache_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(blocked))
    shapes = np.random.default_rng(0).normal(size=(2, 64, 3)).astype(np.float32)
    spec = Preprocessing(points=64, groups=4, group_size=8)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(kept("kind", "key", lambda: np.arange(3)), np.arange(3))
        assert len(cached_groupings(shapes, spec, 1, 0, blocked / "groupings")) == 2
    assert [str(blocked) in one.message for one in caplog.records] == [True, True]
