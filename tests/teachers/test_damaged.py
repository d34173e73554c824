"""Truncated and damaged checkpoints, and files that lie about sizes: one clear error, no allocation."""

from __future__ import annotations

import contextlib
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from foundry_edge import load_teacher
from foundry_edge.teachers.machine import MAX_OPERATIONS
from foundry_edge.teachers.safe_load import open_checkpoint
from foundry_edge.teachers.zip_form import MAX_DIRECTORY
from foundry_edge_runtime.errors import CheckpointError
from tests.teachers import published
from tests.teachers.conftest import Save
from tests.teachers.hostile import named, pickle_of, text, with_legacy_payload, with_pickle

CUTS = 40
FLIPS = 15
ROOM = 32 << 20
"""Bytes that reading a lying file may take; the lies are of gigabytes."""


@pytest.fixture(params=[False, True], ids=["zip", "legacy"])
def path(request: pytest.FixtureRequest, save: Save) -> Path:
    return save(published.point_jepa()[1], legacy=request.param)


def failure(path: Path) -> str:
    """The one line of the error."""
    with pytest.raises(CheckpointError) as caught:
        load_teacher(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_truncated_anywhere(path: Path) -> None:
    whole = path.read_bytes()
    cuts = {*range(0, 64, 7), *np.linspace(64, len(whole) - 1, CUTS, dtype=int).tolist(), len(whole) - 1}
    for cut in sorted(cuts, reverse=True):
        os.truncate(path, cut)
        assert "truncated" in failure(path), cut


def test_bits_flipped_anywhere_is_an_error_or_no_matter(path: Path) -> None:
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    head, tail = rng.integers(0, 4000, FLIPS), len(whole) - rng.integers(1, 9000, FLIPS)
    positions = [*rng.integers(0, len(whole), FLIPS), *head, *tail]
    failed = 0
    for position in positions:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            load_teacher(path)
        except CheckpointError:
            failed += 1
    assert failed > FLIPS // 3


def test_damaged_weights_in_a_zip_fail_their_checksum(save: Save) -> None:
    path = save(published.point_jepa()[1])
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
    data = bytearray(path.read_bytes())
    data[entry.header_offset + entry.file_size // 2] ^= 1
    path.write_bytes(data)
    assert "Bad CRC-32" in failure(path)


@pytest.mark.parametrize("content", [b"", b"P", b"hello", b"\x89PNG\r\n", b"\x93NUMPY", b"{}", b"\x80\x02N."])
def test_other_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    path.write_bytes(content)
    assert "no torch checkpoint" in failure(path)


def test_zip_archives_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, a=np.ones(3))
    assert "holds no data.pkl" in failure(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name(save: Save) -> None:
    path = save(published.point_jepa()[1])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.namelist()[0], b"\x80\x02N.")
    assert "the same name" in failure(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(CheckpointError, match="no such model folder"):
        load_teacher(fifo)
    with pytest.raises(CheckpointError, match="no such model folder"):
        load_teacher(tmp_path / "absent.pth")


@pytest.mark.parametrize("order", [b"big", b""])
def test_big_endian_is_refused(order: bytes, save: Save) -> None:
    path = save(published.point_jepa()[1])
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    entries["teacher/byteorder"] = order
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert "big-endian" in failure(path)


def test_compressed_entries_are_refused(save: Save) -> None:
    assert "compressed" in failure(with_pickle(save(published.point_jepa()[1]), stored=False))


def honest_pickle(save: Save) -> tuple[Path, bytes]:
    """A checkpoint with one tensor of 24 elements that matters, and its pickle."""
    state = published.point_jepa()[1]["state_dict"]
    path = save(state)
    return path, pickle_of(path)


def replaced_tensor(count: bytes, size: bytes, stride: bytes) -> bytes:
    """A pickled tensor of the first storage, with these numbers for its storage, size and stride."""
    kind = named("torch", "FloatStorage")
    storage = b"(" + text("storage") + kind + text("0") + text("cpu") + count + b"tQ"
    hooks = b"\x89" + named("collections", "OrderedDict") + b")R"
    arguments = b"(" + storage + b"K\x00" + size + stride + hooks + b"t"
    return named("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


HUGE = b"\x8a\x07\x00\x00\x00\x00\x00\x00\x01"  # 2^48
HUGER = b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01"  # 2^64


@pytest.mark.parametrize(
    ("count", "size", "stride", "message"),
    [
        (HUGE, HUGE + b"\x85", b"K\x01\x85", "bytes, the pickle claims"),
        (b"K\x18", HUGE + b"\x85", b"K\x00\x85", "more elements than its storage"),
        (b"K\x18", HUGE + b"\x85", b"K\x01\x85", "leaves its storage"),
        (b"K\x18", HUGER + b"\x85", b"K\x00\x85", "no whole number"),
        (b"K\x18", b"J\xff\xff\xff\xff\x85", b"K\x01\x85", "no whole number"),
        (b"K\x18", b"G?\xf0\x00\x00\x00\x00\x00\x00\x85", b"K\x01\x85", "no whole number"),
        (b"K\x18", b"K\x18K\x01\x86", b"K\x01\x85", "as many strides as sizes"),
        (b"J\xff\xff\xff\xff", b"K\x18\x85", b"K\x01\x85", "persistent id is no tensor storage"),
        (HUGE, b"K\x18\x85", b"K\x01\x85", "bytes, the pickle claims"),
    ],
)
def test_lies_about_sizes(count: bytes, size: bytes, stride: bytes, message: str, save: Save) -> None:
    path, honest = honest_pickle(save)
    tensor = b"2" + text("student.norm.bias") + replaced_tensor(count, size, stride) + b"s"
    tracemalloc.start()
    try:
        assert message in failure(with_pickle(path, honest, tensor))
        assert tracemalloc.get_traced_memory()[1] < ROOM
    finally:
        tracemalloc.stop()


NEST = b")" + b"2\x86" * 200
"""A tuple of the same tuple twice, 200 deep: to hash it takes 2^200 steps."""


@pytest.mark.parametrize(
    "payload",
    [
        b"\x8e" + (2**62).to_bytes(8, "little"),
        b"\x96" + (2**62).to_bytes(8, "little"),
        b"\x95" + (2**62).to_bytes(8, "little") + b"\x8d" + (2**63).to_bytes(8, "little"),
        b"Nr\xff\xff\xff\xff0j\xfe\xff\xff\xff",
        b"}" + NEST + b"Ns",
        b"\x8f(" + NEST + b"\x90",
        b"(" + NEST + b"\x91",
        named("collections", "OrderedDict") + b"](" + NEST + b"N\x86e\x85R",
        b"(" * 5000 + b"o",
        b"0" * 50,
        b"j\xff\xff\xff\x7f",
        b"I" + b"9" * 10_000 + b"\n",
        b"S'\\h'\n0" + named("torch", "Size") + b"NR",
        named("torch", "Size") + b"K\x01K\x02\x86R",
        b"\xff",
    ],
)
def test_pickles_that_would_take_memory_or_time(payload: bytes, save: Save) -> None:
    path, honest = honest_pickle(save)
    tracemalloc.start()
    try:
        assert "damaged" in failure(with_pickle(path, honest, payload))
        assert tracemalloc.get_traced_memory()[1] < ROOM
    finally:
        tracemalloc.stop()


def test_number_of_operations_is_bounded(save: Save) -> None:
    path, honest = honest_pickle(save)
    assert "pickle operations" in failure(with_pickle(path, honest, b"N0" * (MAX_OPERATIONS // 2) + b"N"))


SOME = b"(" + b"K\x01" * 20_000 + b"l"
PAIRS = b"(" + (b"K\x01K\x02\x86" * 20_000) + b"l"
STATE = b"(" + b"".join(b"M" + n.to_bytes(2, "little") + b"N" for n in range(20_000)) + b"d"


@pytest.mark.parametrize(
    "payload",
    [
        b"Nq\xf0",
        SOME + b"q\xf0" + (b"0" + named("torch", "Size") + b"h\xf0\x85R") * 5000,
        PAIRS + b"q\xf0" + named("collections", "OrderedDict") + b"q\xf10" + b"h\xf1h\xf0\x85R" * 5000,
        STATE + b"q\xf0" + named("some", "Class") + b"q\xf10" + b"h\xf1)Rh\xf0b" * 5000,
        b"".join(named(f"some{n}", "Class") + b"0" for n in range(4000)) + b"N",
    ],
    ids=["nothing", "sizes", "pairs", "states", "names"],
)
def test_one_large_object_cannot_be_copied_again_and_again(payload: bytes, save: Save) -> None:
    path, honest = honest_pickle(save)
    tracemalloc.start()
    try:
        with (
            contextlib.suppress(CheckpointError),
            open_checkpoint(with_pickle(path, honest, b"(" + payload + b"1N")),
        ):
            pass
        assert tracemalloc.get_traced_memory()[1] < ROOM
    finally:
        tracemalloc.stop()


def test_zip_directory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "teacher.pth"
    size = MAX_DIRECTORY + 46
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 4, 0)
    path.write_bytes(b"PK\x03\x04" + bytes(size) + end)
    assert f"{size} bytes are claimed where a checkpoint has at most" in failure(path)


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
def test_lengths_in_the_older_form_are_checked_before_they_are_allocated(length: bytes, save: Save) -> None:
    path = with_legacy_payload(save(published.point_jepa()[1], legacy=True), b"X" + length)
    tracemalloc.start()
    try:
        assert "bytes in a unicodestring4, but only" in failure(path)
        assert tracemalloc.get_traced_memory()[1] < ROOM
    finally:
        tracemalloc.stop()


def test_large_values_among_the_hyper_parameters_are_left_out(save: Save) -> None:
    """Data modules that were set up drag whole data sets into an official checkpoint's pickle."""
    path = save(published.point_jepa(data=bytes(3 << 20), text="x" * (3 << 20), array=np.zeros(1 << 18))[1])
    with open_checkpoint(path) as checkpoint:
        values = checkpoint.root["hyper_parameters"]
        assert {type(values[name]).__name__ for name in ("data", "text", "array")} == {"Foreign"}
    assert load_teacher(path).config.width == published.WIDTH


def test_damage_in_the_pickle_of_a_zip_fails_its_checksum(save: Save) -> None:
    path = save(published.point_jepa(note="unmistakable")[1])
    path.write_bytes(path.read_bytes().replace(b"unmistakable", b"unmistakeble"))
    assert "Bad CRC-32" in failure(path)


def test_deep_nests_are_read_without_recursion(save: Save) -> None:
    path, honest = honest_pickle(save)
    nests = b"N" + b"\x85" * 50_000 + b"0" + b"]" * 50_000 + b"a" * 49_999
    assert load_teacher(with_pickle(path, honest, nests), heads=3).config.width == published.WIDTH


def test_lying_legacy_storages(save: Save) -> None:
    path = save({"a": torch.ones(3)}, legacy=True)
    whole = path.read_bytes()
    head, tail = whole[:-20], whole[-12:]
    for count in (2, 4, -1, 2**62):
        path.write_bytes(head + count.to_bytes(8, "little", signed=True) + tail)
        assert "elements, expected 3" in failure(path)
