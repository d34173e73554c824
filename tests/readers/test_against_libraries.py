"""The same points as the reference library of a format, on files that the library wrote."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import laspy
import lazrs
import numpy as np
import pytest
import trimesh

from benchmarks import scan_samples as samples
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import join, scans_in
from foundry_edge_runtime.readers.source import from_bytes


def read(data: bytes, name: str, **options: Any) -> PointCloud:
    return join(list(scans_in(from_bytes(data, name), Options(**options))))


def positions(cloud: PointCloud) -> Any:
    return cloud.xyz.astype(np.float64) + cloud.origin


def las_file(point_format: int, version: str, *, compress: bool, count: int = 500) -> bytes:
    header = laspy.LasHeader(point_format=point_format, version=version)
    header.scales, header.offsets = np.array([0.001, 0.002, 0.01]), np.array([500_000, 5_400_000, -20])
    header.add_extra_dim(laspy.ExtraBytesParams("quality", np.uint16))
    cloud = laspy.LasData(header)
    xyz = samples.points(count).astype(np.float64) + header.offsets
    cloud.x, cloud.y, cloud.z = xyz.T
    cloud.intensity = np.arange(count)
    cloud.classification = np.arange(count) % 9
    names = set(cloud.point_format.dimension_names)
    for name in ("red", "green", "blue", "nir", "gps_time"):
        if name in names:
            cloud[name] = np.arange(count) * 7
    buffer = io.BytesIO()
    cloud.write(buffer, do_compress=compress)
    return buffer.getvalue()


CASES = [
    *((number, "1.2", False) for number in range(4)),
    *((number, "1.4", False) for number in range(11)),
    *((number, "1.2", True) for number in range(4)),
    *((number, "1.4", True) for number in (0, 1, 2, 3, 6, 7, 8)),
]


@pytest.mark.parametrize(("point_format", "version", "compress"), CASES)
def test_las_agrees_with_laspy(point_format: int, version: str, compress: bool) -> None:
    data = las_file(point_format, version, compress=compress)
    expected = laspy.read(io.BytesIO(data))
    cloud = read(data, "a.laz" if compress else "a.las")
    assert positions(cloud) == pytest.approx(np.asarray(expected.xyz), abs=1e-5)
    assert cloud.warnings == ()
    for name, column in cloud.attributes.items():
        assert np.array_equal(column, np.asarray(expected[name])), name
    assert {"intensity", "classification"} <= cloud.attributes.keys()


def test_laz_of_several_chunks_agrees_with_laspy() -> None:
    data = las_file(3, "1.2", compress=True, count=120_000)
    expected = laspy.read(io.BytesIO(data))
    assert positions(read(data, "a.laz")) == pytest.approx(np.asarray(expected.xyz), abs=1e-5)


def variable_chunks(sizes: tuple[int, ...]) -> tuple[bytes, Any]:
    """A LAZ 1.4 file of chunks of different sizes, as COPC has them, and its positions."""
    plain = las_file(6, "1.4", compress=False, count=sum(sizes))
    header_size, to_points = struct.unpack_from("<HI", plain, 94)
    length = struct.unpack_from("<H", plain, 105)[0]
    vlr = lazrs.LazVlr.new_for_compression(6, 2, True)
    record = bytes(vlr.record_data())
    entry = struct.pack("<H16sHH32s", 0, b"laszip encoded", 22204, len(record), b"") + record
    head = bytearray(plain[:to_points])
    struct.pack_into("<II", head, 96, to_points + len(entry), struct.unpack_from("<I", plain, 100)[0] + 1)
    head[104] |= 0x80
    body = io.BytesIO()
    compressor = lazrs.LasZipCompressor(body, vlr)
    start = to_points
    for size in sizes:
        compressor.compress_many(np.frombuffer(plain, np.uint8, size * length, start))
        compressor.finish_current_chunk()
        start += size * length
    compressor.done()
    packed = bytearray(body.getvalue())
    table = struct.unpack_from("<q", packed)[0]
    struct.pack_into("<q", packed, 0, table + to_points + len(entry))
    assert header_size == 375
    return bytes(head) + entry + bytes(packed), np.asarray(laspy.read(io.BytesIO(plain)).xyz)


def test_laz_of_chunks_of_different_sizes() -> None:
    data, expected = variable_chunks((7, 500, 1, 93))
    assert positions(read(data, "a.copc.laz")) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", ["ply", "off", "obj", "stl", "stl_ascii", "glb"])
def test_meshes_agree_with_trimesh(kind: str) -> None:
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=3.0)
    exported: Any = mesh.export(file_type=kind)
    data = exported.encode() if isinstance(exported, str) else exported
    suffix = kind.partition("_")[0]
    cloud = read(data, f"m.{suffix}", vertices=True)
    assert len(cloud) == len(mesh.vertices)
    found, expected = positions(cloud), np.asarray(mesh.vertices)
    assert np.sort(found.round(4), axis=0) == pytest.approx(np.sort(expected.round(4), axis=0), abs=2e-4)
    if suffix != "ply":  # of a PLY mesh the vertices are taken
        sampled = positions(read(data, f"m.{suffix}", samples=500))
        radii = np.linalg.norm(sampled, axis=1)
        assert radii.max() <= 3.0 + 1e-4
        assert radii.min() >= 2.85


def test_glb_scene_of_turned_and_scaled_nodes_agrees_with_trimesh() -> None:
    box = trimesh.creation.box((1, 2, 3))
    scene: Any = trimesh.Scene()
    transformations: Any = trimesh.transformations
    turn = transformations.quaternion_matrix([0.5, 0.5, -0.5, 0.5])
    turn[:3, 3] = [4, 5, 6]
    scene.add_geometry(box, node_name="a", transform=turn)
    scene.add_geometry(box, node_name="b", parent_node_name="a", transform=np.diag([2.0, 3.0, 4.0, 1.0]))
    data: Any = scene.export(file_type="glb")
    cloud = read(data, "s.glb", vertices=True)
    expected: Any = trimesh.load(io.BytesIO(data), file_type="glb")
    corners = np.asarray(expected.to_geometry().vertices)
    assert cloud.bounds.min == pytest.approx(corners.min(axis=0).tolist(), abs=1e-5)
    assert cloud.bounds.max == pytest.approx(corners.max(axis=0).tolist(), abs=1e-5)


def test_glb_rotation_and_scale_of_a_node_agree_with_trimesh() -> None:
    document = json.loads(samples.glb()[20:].split(b"\x00")[0].rpartition(b"}")[0].decode("latin-1") + "}")
    node = {"mesh": 0, "rotation": [0.5, -0.5, 0.5, 0.5], "scale": [1, 2, 3], "translation": [7, 8, 9]}
    document["nodes"] = [{"children": [1], "matrix": np.diag([2.0, 2, 2, 1]).T.ravel().tolist()}, node]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary = samples.CUBE.tobytes() + samples.CUBE_FACES.astype("<u2").tobytes()
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942)
    data = struct.pack("<4sII", b"glTF", 2, 12 + len(chunks) + len(binary)) + chunks + binary
    expected: Any = trimesh.load(io.BytesIO(data), file_type="glb")
    corners = np.asarray(expected.to_geometry().vertices)
    cloud = read(data, "n.glb", vertices=True)
    assert cloud.bounds.min == pytest.approx(corners.min(axis=0).tolist(), abs=1e-5)
    assert cloud.bounds.max == pytest.approx(corners.max(axis=0).tolist(), abs=1e-5)
