"""Scans named by URIs: listed, fetched, and read as files are; file:// stands for a store."""

from __future__ import annotations

import errno
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow.fs", reason="needs the extra store")

from foundry_edge_runtime import read_points
from foundry_edge_runtime.errors import InputError, MissingExtraError, ScanError, StorageError
from foundry_edge_runtime.inspection import are_many, expand
from foundry_edge_runtime.readers.uri import is_uri, name_of, suffix_of
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import run
from foundry_edge_runtime.save import feature_file

RNG = np.random.default_rng(5)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two scans, one with an odd name in a folder, and what is no scan."""
    folder = tmp_path / "bucket"
    (folder / "deep er").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    for name in ("a.npy", "deep er/b #1.npy", ".hidden/c.npy"):
        np.save(folder / name, RNG.normal(size=(1200, 3)).astype(np.float32))
    (folder / "notes.md").write_text("not a scan")
    return folder


def test_names() -> None:
    assert is_uri("s3://bucket/a.pcd")
    assert is_uri("FILE:///a.pcd")
    assert not is_uri("a.pcd")
    assert not is_uri("http://host/a.pcd")  # no file system of pyarrow
    assert not is_uri("odd://name.pcd")
    assert suffix_of("s3://bucket/a%20b.PCD?region=eu") == ".pcd"
    assert name_of("s3://bucket/x/a%20b.pcd?region=eu") == "a b.pcd"


def test_a_prefix_is_the_scans_below_it(store: Path) -> None:
    found = [str(uri) for uri in expand([store.as_uri()])]
    assert found == [(store / "a.npy").as_uri(), (store / "deep er" / "b #1.npy").as_uri()]
    assert are_many([store.as_uri()])
    assert not are_many(found[:1])


def test_an_object_is_read_as_the_file_is(store: Path) -> None:
    path = store / "deep er" / "b #1.npy"
    found, expected = read_points(path.as_uri()), read_points(path)
    np.testing.assert_array_equal(found.xyz, expected.xyz)
    assert (found.source, found.format) == (path.as_uri(), expected.format)


def test_run_takes_a_prefix_and_an_object(store: Path, tmp_path: Path, bundle_folder: Path) -> None:
    first = run(store.as_uri(), bundle=bundle_folder, ledger=tmp_path / "ledger", save=tmp_path / "out")
    with closing(first) as one:
        assert [result.cloud.source for result in one if isinstance(result, Result)] == [
            str(u) for u in expand([store.as_uri()])
        ]
    assert len(list((tmp_path / "out").glob("*.npz"))) == 2
    with closing(run(store.as_uri(), bundle=bundle_folder, ledger=tmp_path / "ledger")) as again:
        assert list(again) == []
        assert again.counts.skipped == 2
    with closing(run((store / "a.npy").as_uri(), bundle=bundle_folder)) as single:
        assert len(list(single)) == 1


def test_features_of_an_object_have_one_place_wherever_the_command_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "s3://bucket/x/a.pcd?region=eu"
    here = feature_file(uri, Path("out"))
    monkeypatch.chdir(tmp_path)
    assert feature_file(uri, Path("out")) == here
    assert here.name.startswith("a.pcd-")


def test_what_is_not_there_is_said(store: Path) -> None:
    with pytest.raises(ScanError, match=r"file:///.*nothing: no such object; check the URI"):
        read_points((store / "nothing").as_uri())
    with pytest.raises(ScanError, match="not an object, but a prefix"):
        read_points(store.as_uri())
    empty = store / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no scan below it"):
        list(expand([empty.as_uri()]))
    with pytest.raises(ScanError, match="cannot be read"):
        read_points("s3:///no-bucket.pcd")


def test_credentials_in_a_name_are_refused_and_not_repeated() -> None:
    with pytest.raises(ScanError, match="holds credentials; set them in the environment") as caught:
        read_points("s3://AKIA:secret@bucket/a.pcd")
    assert "secret" not in str(caught.value)


def test_no_room_is_said(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(StorageError, match="no room for a scan"):
        read_points((store / "a.npy").as_uri())


def test_without_pyarrow_the_extra_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(MissingExtraError, match=r"foundry-edge\[store\]"):
        read_points((store / "a.npy").as_uri())
