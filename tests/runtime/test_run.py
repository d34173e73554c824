"""`run` over files, folders, lists and standard input; and what `--save` leaves behind."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from foundry_edge_runtime.backends import Outputs
from foundry_edge_runtime.errors import (
    BackendError,
    BundleError,
    GateError,
    InputError,
    ScanError,
    StorageError,
)
from foundry_edge_runtime.grouping import Preprocessing, prepare
from foundry_edge_runtime.inspection import Failure, inspect
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import run, scans_of
from foundry_edge_runtime.save import feature_file

RNG = np.random.default_rng(11)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with three scans, one of them damaged, and a file that is none."""
    folder = tmp_path / "scans"
    (folder / "sub").mkdir(parents=True)
    np.save(folder / "a.npy", RNG.normal(size=(200, 3)).astype(np.float32))
    (folder / "b.pcd").write_bytes(b"VERSION .7\nFIELDS x y z\n")
    np.save(folder / "sub" / "a.npy", RNG.normal(size=(100, 3)).astype(np.float32))
    (folder / "notes.md").write_text("no scan")
    return folder


def test_one_scan(scans: Path, bundle_folder: Path) -> None:
    (result,) = run(scans / "a.npy", bundle=bundle_folder)
    assert isinstance(result, Result)
    assert result.cloud.source == str(scans / "a.npy")
    assert result.latency.read > 0
    assert result.saved is None


def test_failure_of_one_scan_is_raised(scans: Path, bundle_folder: Path) -> None:
    with pytest.raises(ScanError, match=r"b\.pcd"):
        list(run(scans / "b.pcd", bundle=bundle_folder))


def test_folder_goes_on_after_a_failure(scans: Path, bundle_folder: Path) -> None:
    results = list(run(scans, bundle=bundle_folder))
    assert [type(one) for one in results] == [Result, Failure, Result]
    failure = results[1]
    assert isinstance(failure, Failure)
    assert failure.input == str(scans / "b.pcd")
    assert "b.pcd" in failure.as_json()["error"]


def test_missing_scan_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"nosuch\.pcd: no such file"):
        run(tmp_path / "nosuch.pcd", bundle=tmp_path / "no-bundle-either")


def test_folder_without_scans(tmp_path: Path, bundle_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no scan found in the folder"):
        run(tmp_path / "empty", bundle=bundle_folder)


def test_options_and_bundle_are_checked_before_the_first_result(scans: Path, bundle_folder: Path) -> None:
    with pytest.raises(InputError, match="--max-latency-ms"):
        run(scans, bundle=bundle_folder, max_latency_ms=-1)
    with pytest.raises(BundleError, match="does not exist"):
        run(scans, bundle=scans / "none")


def test_strict_budget_that_cannot_be_met(scans: Path, bundle_folder: Path) -> None:
    with pytest.raises(GateError, match=r"none keeps within 0\.0001 ms") as caught:
        run(scans / "a.npy", bundle=bundle_folder, max_latency_ms=0.0001, strict=True)
    assert caught.value.exit_code == 1
    (result,) = run(scans / "a.npy", bundle=bundle_folder, max_latency_ms=0.0001)
    assert isinstance(result, Result)
    assert not result.choice.met


def test_standard_input_is_a_list_of_paths(
    scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = f"{scans}/a.npy\r\n\n{scans}/b.pcd\n{scans}/none.ply\n{scans}/sub/a.npy"
    _type(monkeypatch, lines.encode())
    results = list(run("-", bundle=bundle_folder))
    assert [type(one) for one in results] == [Result, Failure, Failure, Result]


def test_standard_input_is_a_scan(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "\n".join(" ".join(f"{value:.4f}" for value in row) for row in RNG.normal(size=(50, 3)))
    _type(monkeypatch, f"{table}\n".encode())
    (result,) = run("-", bundle=bundle_folder)
    assert isinstance(result, Result)
    assert len(result.cloud) == 50


def test_scan_on_standard_input_that_cannot_be_read(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in (b"", b"\0\n", b"no such file\n"):
        _type(monkeypatch, content)
        with pytest.raises(ScanError):
            list(run("-", bundle=bundle_folder))


@pytest.mark.parametrize("form", ["{0}\n{1}\n", "{0}\0{1}\0", "{0}\r\n\n{1}", "{0}\0{1}"])
def test_forms_of_a_list(
    scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    _type(monkeypatch, form.format(scans / "a.npy", scans / "sub" / "a.npy").encode())
    assert [type(one) for one in run("-", bundle=bundle_folder)] == [Result, Result]


def test_single_path_needs_no_line_break(
    scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _type(monkeypatch, str(scans / "a.npy").encode())
    assert [type(one) for one in run("-", bundle=bundle_folder)] == [Result]


@pytest.mark.parametrize("form", ["no.pcd\n{0}\n", "no.pcd\0{0}\0", "no.pcd", "no.pcd\r\n"])
def test_list_whose_first_path_is_missing(
    scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    _type(monkeypatch, form.format(scans / "a.npy").encode())
    with pytest.raises(ScanError, match=r"if this is a list of paths, no.pcd does not exist"):
        list(run("-", bundle=bundle_folder))


def test_list_for_a_command_that_takes_none(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _type(monkeypatch, f"{scans}/a.npy\n".encode())
    with pytest.raises(ScanError, match="if this is a list of paths, the command takes none"):
        inspect("-")


def test_damaged_scan_is_not_called_a_list(bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (
        b"solid made of a.stl\nfacet normal 0 0 x\n",
        b"# from scan.las\n1 2\n",
        b"x" * 5000 + b"\n",
    ):
        _type(monkeypatch, content)
        with pytest.raises(ScanError) as caught:
            list(run("-", bundle=bundle_folder))
        assert "list of paths" not in str(caught.value)


def _type(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(content))))


def test_saved_features_are_the_result(scans: Path, bundle_folder: Path, tmp_path: Path) -> None:
    (result,) = run(scans / "a.npy", bundle=bundle_folder, save=tmp_path / "out")
    assert isinstance(result, Result)
    assert result.saved is not None
    assert result.as_json()["features"]["saved"] == str(result.saved)
    with np.load(result.saved) as stored:
        assert set(stored) == {"tokens", "centers", "global", "logits"}
        np.testing.assert_array_equal(stored["tokens"], result.tokens)
        np.testing.assert_array_equal(stored["centers"], result.centers)
        np.testing.assert_array_equal(stored["global"], result.pooled)
        assert {stored[name].dtype for name in stored} == {np.dtype(np.float32)}


def test_folder_is_mirrored(scans: Path, bundle_folder: Path, tmp_path: Path) -> None:
    list(run(scans, bundle=bundle_folder, save=tmp_path / "out"))
    saved = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.npz")}
    assert saved == {"a.npy.npz", "sub/a.npy.npz"}


def test_equal_names_of_a_list_do_not_meet(tmp_path: Path) -> None:
    one, other = (feature_file(f"{folder}/a.npy", tmp_path) for folder in ("x", "y"))
    assert one != other
    assert one.parent == other.parent == tmp_path
    assert feature_file("-", tmp_path).name.startswith("stdin-")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file(
    scans: Path, bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    (result,) = run(scans / "a.npy", bundle=bundle_folder, save=tmp_path / "out")
    assert isinstance(result, Result)
    assert result.saved is not None
    before = result.saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync" if call == "fsync" else "pathlib.Path.replace", full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        list(run(scans / "a.npy", bundle=bundle_folder, save=tmp_path / "out"))
    assert caught.value.exit_code == 3
    assert result.saved.read_bytes() == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == [result.saved.name]


def test_save_folder_that_is_a_file(scans: Path, bundle_folder: Path) -> None:
    with pytest.raises(InputError, match=r"notes.md: is a file; give --save a folder"):
        list(run(scans / "a.npy", bundle=bundle_folder, save=scans / "notes.md"))


def test_results_in_the_folder_are_no_scans(scans: Path, bundle_folder: Path) -> None:
    """They are npz files like any other; the second run must not take those of the first for scans."""
    for _ in range(2):
        assert len(list(run(scans, bundle=bundle_folder, save=scans / "out", per_point=True))) == 3


def test_scans_of_a_folder(scans: Path) -> None:
    found = scans_of(scans)
    assert (found.many, found.root) == (True, scans)
    assert len(list(found.items)) == 3


def test_scan_that_does_not_fit_into_memory_is_one_failure(
    scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(xyz: FloatArray, spec: Preprocessing) -> FloatArray:
        if len(xyz) > 150:
            raise MemoryError
        return prepare(xyz, spec)

    monkeypatch.setattr("foundry_edge_runtime.feeding.prepare", limited)
    first, _, last = run(scans, bundle=bundle_folder)
    assert isinstance(first, Failure)
    assert "its 200 points do not fit into memory" in str(first.error)
    assert isinstance(last, Result)


def test_end_of_all_engines_ends_a_folder(
    scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, groups: FloatArray, centers: FloatArray) -> Outputs:
        raise BackendError("the device is gone")

    results = run(scans, bundle=bundle_folder)
    monkeypatch.setattr("foundry_edge_runtime.backends.ort.OnnxRuntimeEngine.run", broken)
    with pytest.raises(BackendError, match="the device is gone"):
        list(results)
