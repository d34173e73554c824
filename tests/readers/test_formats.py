"""Every format gives back the points, attributes and names that were written, by its specification."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scan_samples as samples
from benchmarks.scan_samples import CUBE, SAMPLES, intensity, pcd_header, points
from foundry_edge_runtime.errors import FoundryEdgeError, ScanError
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import join, scans_in
from foundry_edge_runtime.readers.source import from_bytes

Sample = Callable[[str], Path]


def read(data: bytes, name: str, **options: object) -> PointCloud:
    return join(list(scans_in(from_bytes(data, name), Options(**options))))  # type: ignore[arg-type]


def positions(cloud: PointCloud) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return cloud.xyz.astype(np.float64) + cloud.origin


EXACT = [name for name in SAMPLES if name.split(".")[-1] in ("pcd", "ply", "npy", "npz", "xyz", "csv", "pts")]


@pytest.mark.parametrize("name", [name for name in EXACT if name != "compressed.pcd"])
def test_points_and_intensity_come_back(name: str) -> None:
    cloud = read(SAMPLES[name](), name)
    assert positions(cloud) == pytest.approx(points().astype(np.float64), abs=1e-5)
    for key, column in cloud.attributes.items():
        assert key in ("intensity", "column_4")
        assert column == pytest.approx(intensity(), abs=1e-6)


def test_compressed_pcd() -> None:
    cloud = read(samples.pcd_compressed(), "c.pcd")
    assert cloud.format == "pcd/binary_compressed"
    assert positions(cloud) == pytest.approx(np.round(points(), 1), abs=1e-5)


@pytest.mark.parametrize("name", ["utm.las", "utm.laz"])
def test_las_keeps_millimetres_at_utm_coordinates(name: str) -> None:
    cloud = read(SAMPLES[name](), name)
    expected = np.round(points() * 1000).astype(np.int64) * 0.001 + np.array([500_000, 5_400_000, 100])
    assert positions(cloud) == pytest.approx(expected, abs=1e-5)
    assert cloud.attributes["intensity"].tolist() == list(range(120))


def test_las_1_4_counts_points_in_64_bits() -> None:
    assert len(read(samples.las(minor=4), "a.las")) == 120


@pytest.mark.parametrize("name", ["bag.mcap", "open.mcap", "zstd.mcap", "lz4.mcap"])
def test_bag_gives_one_cloud_per_message(name: str) -> None:
    clouds = list(scans_in(from_bytes(SAMPLES[name](), name), Options()))
    assert len(clouds) == 3
    for number, cloud in enumerate(clouds):
        assert positions(cloud) == pytest.approx(points(40, seed=number).astype(np.float64), abs=1e-5)


def test_bag_topic_is_checked() -> None:
    assert len(read(samples.mcap(), "b.mcap", topic="/points")) == 120
    with pytest.raises(ScanError, match=r"no topic '/other'.*/points"):
        read(samples.mcap(), "b.mcap", topic="/other")


def test_bag_without_an_end_is_salvaged() -> None:
    data = samples.mcap_open()[:-600]
    with pytest.raises(ScanError, match="no footer"):
        read(data, "b.mcap")
    cloud = read(data, "b.mcap", salvage=True)
    assert len(cloud) == 80
    assert any("truncated" in line for line in cloud.warnings)


def test_bag_checksums_are_compared() -> None:
    data = bytearray(samples.mcap())
    data[-200] ^= 1
    with pytest.raises(ScanError, match="checksum"):
        read(bytes(data), "b.mcap")


def test_e57_applies_the_pose_and_unpacks_bits() -> None:
    cloud = read(samples.e57(shift=1000.0), "scan.e57")
    expected = points().astype(np.float64) + np.array([1000, 0, 0])
    expected[:, 2] = np.round(points()[:, 2] * 1000).astype(np.int64) * 0.001
    assert positions(cloud) == pytest.approx(expected, abs=1e-4)
    assert cloud.attributes["intensity"].tolist() == list(range(120))


def test_e57_seal_is_that_of_the_standard() -> None:
    assert samples.seal_e57(samples.e57()) == samples.e57()


def test_e57_page_checksums_are_compared() -> None:
    data = bytearray(samples.e57())
    data[500] ^= 1
    with pytest.raises(ScanError, match="checksum of page 1"):
        read(bytes(data), "scan.e57")


@pytest.mark.parametrize("bits", [0, 1, 7, 13, 31, 33, 64])
def test_packed_integers_of_every_width(bits: int) -> None:
    from foundry_edge_runtime.readers.e57_points import _unpacked

    generator = np.random.default_rng(bits)
    values = [int(generator.integers(0, 2**63)) * 2 % (1 << bits) if bits else 0 for _ in range(70_001)]
    cells = np.array([[value >> i & 1 for i in range(bits)] for value in values], np.uint8).ravel()
    stream = np.packbits(cells, bitorder="little")
    assert _unpacked(stream, bits, len(values)).tolist() == values


MESHES = ["cube.off", "cube.obj", "binary.stl", "ascii.stl", "cube.glb"]


@pytest.mark.parametrize("name", MESHES)
def test_mesh_vertices(name: str) -> None:
    cloud = read(SAMPLES[name](), name, vertices=True)
    moved = np.array([10.0, 0, 0]) if name == "cube.glb" else np.zeros(3)
    found = sorted(map(tuple, (positions(cloud) - moved).tolist()))
    assert found == sorted(map(tuple, CUBE.astype(float).tolist()))


@pytest.mark.parametrize("name", MESHES)
def test_mesh_samples_lie_uniformly_on_the_surface(name: str) -> None:
    cloud = read(SAMPLES[name](), name, samples=6000, seed=3)
    xyz = positions(cloud) - (np.array([10.0, 0, 0]) if name == "cube.glb" else 0)
    assert len(cloud) == 6000
    on_face = (np.abs(xyz) < 1e-6) | (np.abs(xyz - 1) < 1e-6)
    assert on_face.any(axis=1).all()
    per_face = [int(np.sum(np.abs(xyz[:, axis] - side) < 1e-6)) for axis in range(3) for side in (0, 1)]
    assert all(900 < count < 1100 for count in per_face)  # 1000 expected, five standard deviations
    assert xyz.mean(axis=0) == pytest.approx([0.5] * 3, abs=0.03)


def test_mesh_samples_depend_on_the_seed_alone() -> None:
    first = read(samples.off(), "c.off", seed=1)
    assert np.array_equal(first.xyz, read(samples.off(), "c.off", seed=1).xyz)
    assert not np.array_equal(first.xyz, read(samples.off(), "c.off", seed=2).xyz)


def test_large_triangles_get_more_points() -> None:
    text = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 10 0 0\nv 13 0 0\nv 10 3 0\nf 1 2 3\nf -3 -2 -1\n"
    cloud = read(text, "two.obj", samples=10_000)
    share = np.mean(positions(cloud)[:, 0] >= 10)
    assert share == pytest.approx(0.9, abs=0.02)


def test_mesh_without_area_is_refused() -> None:
    text = b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n"
    with pytest.raises(ScanError, match="area"):
        read(text, "line.obj")
    assert len(read(text, "line.obj", vertices=True)) == 3


# PCD


def test_pcd_of_every_type_in_any_order() -> None:
    dtype = np.dtype(
        [("label", "<u2"), ("z", "<f8"), ("_", "u1", 3), ("x", "<i4"), ("n", "<f4", 2), ("y", "<i8")]
    )
    rows = np.zeros(5, dtype)
    rows["x"], rows["y"], rows["z"] = range(5), range(10, 15), np.arange(5) / 3
    rows["label"], rows["n"] = range(5), [[1, 2]] * 5
    header = (
        b"VERSION .7\nFIELDS label z _ x n y\nSIZE 2 8 1 4 4 8\nTYPE U F U I F I\nCOUNT 1 1 3 1 2 1\n"
        b"WIDTH 5\nHEIGHT 1\nPOINTS 5\nDATA binary\n"
    )
    cloud = read(header + rows.tobytes(), "odd.pcd")
    assert positions(cloud) == pytest.approx(np.column_stack([rows["x"], rows["y"], rows["z"]]), abs=1e-6)
    assert cloud.attributes["label"].dtype == np.uint16
    assert cloud.attributes["n"].shape == (5, 2)
    assert "_" not in cloud.attributes


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.replace(b"VERSION 0.7\n", b""),
        lambda h: h.replace(b"VERSION 0.7", b"VERSION .5"),
        lambda h: h.replace(b"x y z", b"X Y Z"),
        lambda h: h.replace(b"FIELDS ", b"fields\t").replace(b"SIZE ", b"SIZE\t\t"),
        lambda h: h.replace(b"VERSION", b"# Gr\xfc\xdfe \xff\xfe\n\n  # more\nVERSION"),
        lambda h: h.replace(b"\n", b"\r\n"),
        lambda h: h.replace(b"COUNT 1 1 1 1\n", b"").replace(b"VIEWPOINT 0 0 0 1 0 0 0\n", b""),
        lambda h: h.replace(b"WIDTH 120\nHEIGHT 1", b"WIDTH 12\nHEIGHT 10"),
        lambda h: h.replace(b"WIDTH 120\nHEIGHT 1\n", b""),
        lambda h: h.replace(b"POINTS 120\n", b""),
        lambda h: h.replace(b"FIELDS", b"COLUMNS"),
        lambda h: h.replace(b"1 0 0 0\n", b"1 0 0 nonsense\n"),
        lambda h: b"\xef\xbb\xbf" + h,
    ],
)
def test_pcd_headers_that_the_format_allows(change: Callable[[bytes], bytes]) -> None:
    header = change(pcd_header(120, "binary"))
    body = samples.pcd_binary()[len(pcd_header(120, "binary")) :]
    assert positions(read(header + body, "h.pcd")) == pytest.approx(points().astype(float), abs=1e-5)


def test_pcd_packed_colours_in_all_encodings() -> None:
    packed = np.array([0x00FF8001, 0x00010203], "<u4")
    xyz = np.array([[0, 0, 0], [1, 1, 1]], "<f4")
    rows = np.zeros(2, [("xyz", "<f4", 3), ("rgb", "<u4")])
    rows["xyz"], rows["rgb"] = xyz, packed
    header = pcd_header(2, "binary", fields="x y z rgb")
    ascii_header = pcd_header(2, "ascii", fields="x y z rgb")
    as_float = "".join(f"{i} {i} {i} {value:.9g}\n" for i, value in enumerate(packed.view("<f4")))
    as_integer = "".join(f"{i} {i} {i} {value}\n" for i, value in enumerate(packed))
    for data in (
        header + rows.tobytes(),
        ascii_header + as_float.encode(),
        ascii_header + as_integer.encode(),
    ):
        assert read(data, "c.pcd").attributes["rgb"].tolist() == [[255, 128, 1], [1, 2, 3]]


def test_pcd_ascii_numbers_as_programs_print_them() -> None:
    rows = b"nan 1 2 0\n-inf 1 2 0\n1.#QNAN 1 2 0\n-1.#IND00 1 2 0\n1e400 1 2 0\n+.5 -1.e-3 2 0\n1 2 3 0\n"
    cloud = read(pcd_header(7, "ascii") + rows, "n.pcd")
    assert (cloud.read, len(cloud), cloud.dropped["non_finite"]) == (7, 2, 5)


def test_pcd_float64_keeps_millimetres() -> None:
    table = points().astype("<f8") + np.array([500_000.125, 5_400_000.25, 1_000])
    cloud = read(pcd_header(120, "binary", fields="x y z", size=8) + table.tobytes(), "d.pcd")
    assert positions(cloud) == pytest.approx(table, abs=5e-6)


# PLY


def test_ply_elements_and_lists_before_and_within_the_vertices() -> None:
    header = (
        b"ply\nformat binary_big_endian 1.0\nobj_info any\nelement camera 2\nproperty list uchar short ids\n"
        b"property double f\nelement vertex 3\nproperty uchar red\nproperty list int float w\n"
        b"property double z\n"
        b"property short x\nproperty float y\nelement face 1\nproperty list uint uint v\nend_header\n"
    )
    body = struct.pack(">B2hdBd", 2, 1, 2, 0.5, 0, 0.5)
    for i, count in enumerate((2, 0, 1)):
        body += struct.pack(f">Bi{count}fdhf", i, count, *[9.0] * count, i / 3, i, -i)
    body += struct.pack(">I3I", 3, 0, 1, 2)
    cloud = read(header + body, "l.ply")
    assert positions(cloud) == pytest.approx(np.array([[0, 0, 0], [1, -1, 1 / 3], [2, -2, 2 / 3]]), abs=1e-6)
    assert cloud.attributes["red"].tolist() == [0, 1, 2]
    assert cloud.warnings == ("only 3 points: too few points for a useful result",)
    with pytest.raises(ScanError, match=r"truncated.*face"):
        read(header + body[:-1], "l.ply")
    assert len(read(header + body[:-1], "l.ply", salvage=True)) == 3


def test_ply_text_with_lists_blank_lines_and_elements_before() -> None:
    text = (
        b"ply\nformat ascii 1.0\nelement first 1\nproperty int a\nelement vertex 2\n"
        b"property list uchar int l\n"
        b"property float x\nproperty float y\nproperty float z\nend_header\n7\n\n2 5 6 1 2 3\n0 4 5 6\n"
    )
    assert positions(read(text, "t.ply")).tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(ScanError, match="line 13"):
        read(text.replace(b"2 5 6 1 2 3", b"3 5 6 1 2 3"), "t.ply")


def test_ply_with_lone_carriage_returns() -> None:
    data = samples.ply_header("binary_little_endian").replace(b"\n", b"\r") + samples.ply_big()[-1920:]
    little = np.frombuffer(data[-1920:], ">f4").astype("<f4").tobytes()
    assert len(read(data[:-1920] + little, "mac.ply")) == 120


# Arrays


def test_npy_layouts() -> None:
    xyz = points().astype(np.float64)
    structured = np.zeros(120, [("z", ">f4"), ("y", "<f8"), ("x", "<f4"), ("c", "u1", 3)])
    structured["x"], structured["y"], structured["z"] = xyz.T
    for array in (xyz, xyz.astype(">f8"), np.asfortranarray(xyz), xyz.astype(np.float32), structured):
        buffer = io.BytesIO()
        np.save(buffer, array)
        assert positions(read(buffer.getvalue(), "a.npy")) == pytest.approx(xyz, abs=1e-5)


def test_npz_layouts() -> None:
    xyz = points()
    for arrays in ({"xyz": xyz}, {"arr_0": xyz}, dict(zip("xyz", xyz.T, strict=True))):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        assert positions(read(buffer.getvalue(), "a.npz")) == pytest.approx(xyz.astype(float), abs=1e-5)


def test_npz_bomb_is_refused_before_it_is_unpacked() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, points=np.zeros((3_000_000, 3)))
    with pytest.raises(ScanError, match="decompression bomb"):
        read(buffer.getvalue(), "bomb.npz")


def test_transposed_array_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, points().T)
    with pytest.raises(ScanError, match="transposed"):
        read(buffer.getvalue(), "t.npy")


# Raw tables


def _asks_for_columns(table: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> bool:
    try:
        read(table.tobytes(), "r.bin")
    except ScanError as error:
        return "--columns" in str(error)
    return False


@pytest.mark.parametrize("width", [3, 4, 5, 6])
def test_width_of_raw_tables_is_inferred_or_asked_for_but_never_wrong(width: int) -> None:
    generator = np.random.default_rng(width)
    for rows in (20, 60, 120, 240, 600, 1200, 6000):
        extra = [
            generator.uniform(0, 1, rows),
            generator.integers(0, 32, rows),
            generator.uniform(0, 255, rows),
        ]
        table = np.column_stack([points(rows, seed=rows), *extra])[:, :width].astype("<f4")
        if rows < 6000 and _asks_for_columns(table):
            continue
        cloud = read(table.tobytes(), "r.bin")
        assert len(cloud) == rows
        assert positions(cloud) == pytest.approx(table[:, :3].astype(float), abs=1e-4)


def test_raw_table_with_given_columns_and_types() -> None:
    rows = np.zeros(9, [("t", "<u2"), ("y", "<f8"), ("x", "<f4"), ("z", "<i2"), ("pad", "u1")])
    rows["x"], rows["y"], rows["z"], rows["t"] = range(9), range(9), range(9), range(9)
    cloud = read(rows.tobytes(), "r.bin", columns=("t:uint16", "y:f8", "x", "z:int16", "_:u1"))
    assert positions(cloud).tolist() == [[i, i, i] for i in range(9)]
    assert cloud.attributes["t"].tolist() == list(range(9))


def test_noise_named_bin_is_refused() -> None:
    with pytest.raises(ScanError, match="no float32 coordinates"):
        read(np.random.default_rng(0).bytes(16 * 1000), "n.bin")


# Text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (b"1 2 3\n4 5 6\n", "x y z"),
        (b"\xef\xbb\xbfX;Y;Z\n1;2;3\n4;5;6", "X Y Z"),
        (b"# a comment\n//X Y Z\n2\n1 2 3\n4 5 6\n", "X Y Z"),
        (b'"x [m]","y [m]","z [m]","name"\n1,2,3,"a,b"\n4,5,6,c\n', "x y z name"),
        (b"x\ty\tz\n1\t2\t3\n\n4\t5\t6\n", "x y z"),
        (b"1,2,3,\n4,5,6,\n", "x y z"),
        (b"x,y,z,t\n1,2,3,\n4,5,6,7\n", "x y z t"),
        (b"x y z # trailing\n1 2 3 # note\n4 5 6\n", "x y z"),
        (b"1, 2, 3\r\n4, 5, 6\r\n", "x y z"),
        (b"1 2 3\r4 5 6\r", "x y z"),
        (b"X;Y;Z\n1,0;2,0;3\n4,0;5,0;6,0\n", "X Y Z"),
    ],
)
def test_text_tables(text: bytes, names: str) -> None:
    cloud = read(text, "t.txt")
    assert positions(cloud).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert " ".join(cloud.fields) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"1 2 3\n4 5\n", "line 2.*3 columns, found 2"),
        (b"1 2 3\n4 5 x\n", "line 2.*column 3.*'x'"),
        (b"x,y,z\n1,2,3\n4,5,abc\n", "line 3.*column 3.*'abc'"),
        (b"a,b,c\n1,2,3\n", "line 1.*no field named x"),
        (b"1,5 2,5 3,5\n", "line 1.*at least 3 columns"),
        (b"1,5;2,5;3,5\n1,5;2.5;3,5,1\n", "line 2.*column 3.*'3.5.1'"),
        (b"3\n1 2 3\n", "claims 3 points, 1 rows"),
        (b"x,y,z,name\n1,2,3,a\n4,5,6\n", "line 3.*4 columns, found 3"),
    ],
)
def test_text_errors_name_the_line(text: bytes, said: str) -> None:
    with pytest.raises(ScanError, match=said):
        read(text, "t.txt")


def test_content_counts_more_than_the_name() -> None:
    for name, make in SAMPLES.items():
        if name == "kitti.bin":
            continue
        cloud = read(make(), "scan.dat", vertices=True)
        assert cloud.format.partition("/")[0] in (*name.split("."), "text", "laz")
    assert any("content is LAS" in line for line in read(samples.las(), "scan.pcd").warnings)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        ("1 2 3\n".encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08" + bytes(40), "gunzip"),
        (b"#ROSBAG V2.0\n", "mcap"),
        (json.dumps({"asset": {"version": "2.0"}}).encode(), "GLB"),
        (b"\x00\x01\x02\x03" * 40, "no known format"),
    ],
)
@pytest.mark.parametrize("name", ["scan.pcd", "scan.xyz", "scan.ply", "scan"])
def test_what_is_no_scan_gets_a_message_of_its_own(data: bytes, said: str, name: str) -> None:
    with pytest.raises(ScanError, match=said):
        read(data, name)


def test_glb_never_opens_another_file() -> None:
    data = samples.glb().replace(b'{"byteLength": 168}', b'{"byteLength": 1, "uri": "/etc/passwd"}')
    with pytest.raises(FoundryEdgeError):
        read(data, "x.glb")
    document = {
        "buffers": [{"byteLength": 168, "uri": "../a.bin"}],
        "bufferViews": [{"buffer": 0, "byteLength": 96}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
    }
    text = json.dumps(document).encode()
    chunk = (
        struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<II", len(text), 0x4E4F534A) + text
    )
    with pytest.raises(ScanError, match="no other file is opened"):
        read(chunk, "x.glb")
