"""`--save FILE.parquet`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from foundry_edge_runtime.errors import InputError, MissingExtraError, StorageError
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import run

pyarrow = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
RNG = np.random.default_rng(9)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(5):
        np.save(folder / f"{number}.npy", RNG.normal(size=(40, 3)))
    (folder / "bad.pcd").write_bytes(b"VERSION .7\n")
    return folder


def test_rows_are_the_results(scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foundry_edge_runtime.parquet._ROWS", 2)
    path = scans.parent / "out" / "all.parquet"
    results = [one for one in run(scans, bundle=bundle_folder, save=path) if isinstance(one, Result)]
    assert {one.saved for one in results} == {path}
    table = pyarrow.read_table(path)
    assert table.schema.metadata[b"tokens_shape"] == b"4,6"
    rows = table.to_pylist()
    assert len(rows) == len(results) == 5
    for row, one in zip(rows, results, strict=True):
        assert row["input"] == one.cloud.source
        assert row["scan"] is None
        assert (row["label"], row["score"], row["points"]) == (one.top[0].label, one.top[0].score, 40)  # type: ignore[index]
        np.testing.assert_array_equal(np.float32(row["tokens"]).reshape(4, 6), one.tokens)
        np.testing.assert_array_equal(np.float32(row["centers"]).reshape(4, 3), one.centers)
        np.testing.assert_array_equal(np.float32(row["global"]), one.pooled)
        np.testing.assert_array_equal(np.float32(row["logits"]), one.logits)


def test_stream_that_is_stopped_leaves_a_whole_file(scans: Path, bundle_folder: Path) -> None:
    path = scans.parent / "all.parquet"
    with run(scans, bundle=bundle_folder, save=path) as running:
        next(running), next(running)
    assert pyarrow.read_table(path).num_rows == 2


def test_nothing_computed_leaves_no_file(scans: Path, bundle_folder: Path) -> None:
    for name in range(5):
        (scans / f"{name}.npy").unlink()
    path = scans.parent / "all.parquet"
    list(run(scans, bundle=bundle_folder, save=path))
    assert not path.exists()
    assert not list(scans.parent.glob(".all*"))


def test_full_disk_leaves_the_old_file(
    scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scans.parent / "all.parquet"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        list(run(scans, bundle=bundle_folder, save=path))
    assert path.read_text() == "old"
    assert not list(scans.parent.glob(".all*"))


def test_refusals(scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="does not go with --ledger"):
        run(scans, bundle=bundle_folder, save="x.parquet", ledger=scans / "ledger")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"foundry-edge\[parquet\]"):
        run(scans, bundle=bundle_folder, save=scans / "x.parquet")
