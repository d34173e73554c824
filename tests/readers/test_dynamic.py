"""R4: inputs made at run time (missing, special, changing, unreadable, oddly named) end clearly and soon."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundry_edge_runtime.errors import InputError, ScanError
from foundry_edge_runtime.readers import find_scans, read_points
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import scans_in
from foundry_edge_runtime.readers.source import open_source
from tests.readers.reader_process import inspect_process

Sample = Callable[[str], Path]
MAX_SECONDS = 5


def _refused(*arguments: str | Path, **more: Any) -> str:
    outcome = inspect_process(*arguments, **more)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    assert outcome.seconds < MAX_SECONDS
    return outcome.err


def test_missing_file(tmp_path: Path) -> None:
    message = _refused(tmp_path / "absent.pcd")
    assert "absent.pcd" in message
    assert "no such file" in message


def test_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pcd")
    assert "FIFO" in _refused(tmp_path / "pipe.pcd")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_device(device: str) -> None:
    assert "device" in _refused(device)


def test_socket(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "s.pcd"))
        assert "socket" in _refused(tmp_path / "s.pcd")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(sample: Sample) -> None:
    path = sample("binary.pcd")
    path.chmod(0)
    assert "permission" in _refused(path)


def test_no_permission_is_told_to_any_user(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ScanError, match="permission denied"):
        read_points(sample("binary.pcd"))


def test_directory_named_like_a_scan(tmp_path: Path) -> None:
    (tmp_path / "scan.pcd").mkdir()
    message = _refused(tmp_path / "scan.pcd")
    assert "no scan found in the folder" in message


def test_symlink_loops(tmp_path: Path, sample: Sample) -> None:
    sample("binary.pcd")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.pcd").symlink_to("self.pcd")
    outcome = inspect_process(tmp_path)
    assert outcome.code == 1
    assert outcome.seconds < MAX_SECONDS
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [Path(record["input"]).name for record in records] == ["binary.pcd", "self.pcd"]
    assert "error" in records[1]


def test_each_real_file_once_and_sorted(tmp_path: Path, sample: Sample) -> None:
    sample("binary.pcd").rename(tmp_path / "b.pcd")
    (tmp_path / "sub").mkdir()
    sample("ascii.ply").rename(tmp_path / "sub" / "a.ply")
    (tmp_path / "a.pcd").symlink_to("b.pcd")
    (tmp_path / "notes.txt").write_text("not a scan\nat all\n")
    (tmp_path / "table.txt").write_text("1 2 3\n4 5 6\n")
    (tmp_path / ".hidden.pcd").write_text("x")
    found = [str(path.relative_to(tmp_path)) for path in find_scans(tmp_path)]
    assert found == ["a.pcd", "sub/a.ply", "table.txt"]


def test_a_subfolder_that_cannot_be_listed_is_told(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample("binary.pcd")
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"locked: cannot list the folder: Permission denied"):
        find_scans(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        find_scans(tmp_path / "absent")


def test_folder_with_good_and_bad_files(tmp_path: Path, sample: Sample) -> None:
    data = sample("binary.pcd").read_bytes()
    for number in range(50):
        (tmp_path / f"good{number:02}.pcd").write_bytes(data)
    for number in range(10):
        (tmp_path / f"bad{number:02}.pcd").write_bytes(data[: 300 + 40 * number])
    (tmp_path / "binary.pcd").unlink()
    outcome = inspect_process(tmp_path)
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert outcome.code == 1
    assert sum("error" not in record for record in records) == 50
    failures = [record for record in records if "error" in record]
    assert [Path(record["input"]).name for record in failures] == [f"bad{n:02}.pcd" for n in range(10)]
    assert all("truncated" in record["error"] for record in failures)


def test_hostile_file_name_stays_on_one_line(tmp_path: Path, sample: Sample) -> None:
    data = sample("binary.pcd").read_bytes()
    for name in (b"a\nb\x1b[31m.pcd", b"latin\xe9.pcd", b"[red]x.pcd"):
        (tmp_path / "binary.pcd").unlink(missing_ok=True)
        path = os.fsencode(tmp_path) + b"/" + name
        Path(os.fsdecode(path)).write_bytes(data)
        good = inspect_process(os.fsdecode(path))
        assert good.code == 0
        assert len(good.out.splitlines()) == 1
        assert os.fsencode(good.record["input"]) == path
        Path(os.fsdecode(path)).write_bytes(data[:300])
        message = _refused(os.fsdecode(path))
        assert "\x1b" not in message
        Path(os.fsdecode(path)).unlink()


def test_a_name_with_a_nul_byte() -> None:
    with pytest.raises(ScanError, match="NUL"):
        read_points("a\0b.pcd")


@pytest.mark.parametrize(
    "name", ["binary.pcd", "compressed.pcd", "ascii.ply", "array.npy", "scan.e57", "utm.las"]
)
def test_a_file_that_shrinks(sample: Sample, name: str) -> None:
    path = sample(name)
    with open_source(path) as source:
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(ScanError, match="shrank"):
            list(scans_in(source, Options()))


def test_a_file_that_grows(sample: Sample) -> None:
    path = sample("binary.pcd")
    with open_source(path) as source:
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(ScanError, match="grew while being read"):
            list(scans_in(source, Options()))
    with open_source(path) as source:
        with path.open("ab") as file:
            file.write(b"more")
        (cloud,) = scans_in(source, Options(salvage=True))
        assert any("grew" in line for line in cloud.warnings)


def test_a_file_that_is_rewritten(sample: Sample) -> None:
    path = sample("binary.pcd")
    data = path.read_bytes()
    with open_source(path) as source:
        path.write_bytes(data[::-1][: len(data)])
        os.utime(path, ns=(1, 1))
        with pytest.raises(ScanError):
            list(scans_in(source, Options()))


def test_a_file_that_never_stops_growing(sample: Sample) -> None:
    path = sample("plain.xyz")
    stop = threading.Event()

    def write() -> None:
        with path.open("ab") as file:
            while not stop.is_set():
                file.write(b"1 2 3\n" * 100)
                file.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        start = time.perf_counter()
        with open_source(path) as source:
            time.sleep(0.05)
            with pytest.raises(ScanError, match="grew"):
                list(scans_in(source, Options()))
        assert time.perf_counter() - start < MAX_SECONDS
    finally:
        stop.set()
        writer.join()


def test_huge_sparse_file_is_refused_by_its_header(
    tmp_path: Path, sample: Sample, baseline_mib: float
) -> None:
    for name in ("binary.pcd", "little.ply", "array.npy", "utm.las", "binary.stl"):
        path = sample(name)
        os.truncate(path, 1 << 34)
        outcome = inspect_process(path)
        assert outcome.seconds < MAX_SECONDS
        assert outcome.peak_mib - baseline_mib < 256
        assert "Traceback" not in outcome.err


def test_huge_sparse_text_and_noise_do_not_fill_the_memory(tmp_path: Path, baseline_mib: float) -> None:
    for name in ("zeros.xyz", "zeros.pcd", "zeros.obj", "zeros"):
        path = tmp_path / name
        path.touch()
        os.truncate(path, 1 << 40)
        outcome = inspect_process(path)
        assert outcome.code == 2
        assert outcome.seconds < MAX_SECONDS
        assert outcome.peak_mib - baseline_mib < 256


def test_standard_input(sample: Sample) -> None:
    for name in ("binary.pcd", "utm.laz", "archive.npz", "cube.glb"):
        with sample(name).open("rb") as file:
            outcome = inspect_process("-", stdin=file)
        assert outcome.code == 0
        assert outcome.record["input"] == "-"


def test_empty_standard_input() -> None:
    assert "empty" in _refused("-", stdin=subprocess.DEVNULL)


def test_closed_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ScanError, match="standard input"):
        read_points("-")
