"""Small files made to cost much: each ends within 5 seconds and 256 MiB, in points or in one clear error."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import zstandard

from benchmarks import scan_samples as samples
from tests.readers.reader_process import inspect_process

MIB = 1 << 20


def pcd_with_many_fields() -> bytes:
    names = " ".join(f"f{i}" for i in range(150_000))
    return f"VERSION 0.7\nFIELDS x y z {names}\nDATA ascii\n".encode()


def pcd_with_one_name_many_times() -> bytes:
    return b"VERSION 0.7\nFIELDS x y z" + b" a" * 4000 + b"\nWIDTH 1\nHEIGHT 1\nDATA ascii\n" + b"1 " * 4003


def ply_with_many_properties() -> bytes:
    lines = "".join(f"property char p{i}\n" for i in range(45_000))
    return f"ply\nformat ascii 1.0\nelement vertex 1\n{lines}end_header\n".encode()


def ply_with_many_elements() -> bytes:
    lines = "".join(f"element e{i} 0\n" for i in range(60_000))
    return f"ply\nformat ascii 1.0\n{lines}end_header\n".encode()


def ply_with_mixed_empty_faces() -> bytes:
    header = samples.ply_header("binary_little_endian", faces=3_000_000).replace(b"uchar int", b"uchar uchar")
    return header + samples.points(160).tobytes() + b"\x00\x01\x07" * 1_500_000


def ply_vertices_with_lists() -> bytes:
    header = b"ply\nformat binary_little_endian 1.0\nelement vertex 100000\nproperty list uchar uchar l\n"
    header += b"property float x\nproperty float y\nproperty float z\nend_header\n"
    one, two = bytes([0]) + bytes(12), bytes([1, 9]) + bytes(12)
    return header + (one + two) * 50_000


def npz_bomb_of_many_arrays() -> bytes:
    buffer = io.BytesIO()
    zeros = np.zeros((1 << 20, 2))
    np.savez_compressed(buffer, points=np.zeros((1 << 20, 3)), a=zeros, b=zeros, c=zeros, d=zeros, e=zeros)
    return buffer.getvalue()


def npz_that_lies_about_its_size() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", samples.npy() + bytes(32 * MIB))
    data = bytearray(buffer.getvalue())
    central = data.rfind(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 24, 2048)
    return bytes(data)


def mcap_chunk(packed: bytes, size: int, compression: str) -> bytes:
    name = compression.encode()
    content = struct.pack("<QQQI", 0, 0, size, 0) + struct.pack("<I", len(name)) + name
    content += struct.pack("<Q", len(packed)) + packed
    data = b"\x89MCAP0\r\n" + struct.pack("<BQ", 6, len(content)) + content
    return data + struct.pack("<BQ", 2, 20) + bytes(20) + b"\x89MCAP0\r\n"


def mcap_zstd_bomb() -> bytes:
    return mcap_chunk(zstandard.ZstdCompressor().compress(bytes(1 << 30)), 1 << 30, "zstd")


def mcap_zstd_that_lies() -> bytes:
    return mcap_chunk(zstandard.ZstdCompressor().compress(bytes(1 << 30)), 1000, "zstd")


def mcap_lz4_that_lies() -> bytes:
    return mcap_chunk(lz4.frame.compress(bytes(1 << 28)), 1000, "lz4")


def mcap_of_empty_records() -> bytes:
    return b"\x89MCAP0\r\n" + struct.pack("<BQ", 0x80, 0) * 300_000 + b"\x89MCAP0\r\n"


def mcap_chunk_of_empty_records() -> bytes:
    return mcap_chunk(struct.pack("<BQ", 0x80, 0) * 500_000, 4_500_000, "")


def las_with_many_empty_records() -> bytes:
    data = bytearray(samples.las())
    struct.pack_into("<II", data, 96, 227 + 54 * 150_000, 4_000_000_000)
    return bytes(data[:227]) + bytes(54 * 150_000) + bytes(data[227:])


def glb_document(document: dict[str, object], binary: bytes) -> bytes:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<II", len(text), 0x4E4F534A)
        + text
        + struct.pack("<II", len(binary), 0x004E4942)
        + binary
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def glb_of_instances() -> bytes:
    """A mesh of 100,000 triangles on three vertices, placed 50,000 times."""
    return glb_document(
        {
            "nodes": [{"mesh": 0}] * 50_000,
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
            "accessors": [
                {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
                {"bufferView": 1, "componentType": 5121, "count": 300_000, "type": "SCALAR"},
            ],
            "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteLength": 300_000}],
            "buffers": [{"byteLength": 300_000}],
        },
        bytes(300_000),
    )


def glb_of_empty_primitives() -> bytes:
    primitives = [{"attributes": {"POSITION": 0}}] * 20_000
    accessor = {"bufferView": 0, "componentType": 5126, "count": 0, "type": "VEC3"}
    return glb_document(
        {
            "nodes": [{"mesh": 0}] * 20_000,
            "meshes": [{"primitives": primitives}],
            "accessors": [accessor] * 20_000,
            "bufferViews": [{"buffer": 0, "byteLength": 0}],
            "buffers": [{"byteLength": 0}],
        },
        b"",
    )


def glb_of_nested_json() -> bytes:
    text = b'{"nodes":' + b"[" * 500_000
    return struct.pack("<4sII", b"glTF", 2, 20 + len(text)) + struct.pack("<II", len(text), 0x4E4F534A) + text


def glb_with_a_huge_number() -> bytes:
    text = json.dumps({"nodes": [{"mesh": 0, "scale": [1, 1, 7]}], "meshes": [{}]}).replace("7", "7" * 400)
    chunk = struct.pack("<II", len(text), 0x4E4F534A) + text.encode()
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunk)) + chunk


def e57_of_shared_scans() -> bytes:
    scan = samples.E57_XML.partition("<data3D")[2].partition("</data3D>")[0].partition(">")[2]
    one = scan.format(shift=0, count=0xFFFFFF)
    xml = samples.E57_XML.partition("<vectorChild")[0] + one * 5000 + "</data3D></e57Root>"
    return samples.seal_e57(samples.e57_pages(bytes(32), xml.encode()))


def text_of_comments() -> bytes:
    return b"#\n" * 4_000_000


def text_with_an_error_at_its_end() -> bytes:
    return b"1.0 2.0 3.0\n" * 500_000 + b"1.0 x 3.0\n"


def text_of_one_line() -> bytes:
    return b"1 2 3 " * 1_500_000


def csv_of_words() -> bytes:
    return b"x,y,z,name\n" + b"1,2,3,a\n" * 200_000


def obj_of_one_polygon() -> bytes:
    return samples.obj() + b"f " + b"1 2 3 " * 300_000


def npy_of_nested_types() -> bytes:
    text = b"{'descr': " + b"[" * 4000 + b"]" * 4000 + b", 'fortran_order': False, 'shape': (1,)}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def pcd_lzf_bomb() -> bytes:
    packed = (b"\x00\x00" + b"\xe0\xff\x00" * 30_000)[:90_000]
    size = 12 * 660_000
    header = samples.pcd_header(660_000, "binary_compressed", fields="x y z")
    return header + struct.pack("<II", len(packed), size) + packed


HOSTILE = [value for value in list(globals().values()) if callable(value) and value.__module__ == __name__]
HOSTILE = [make for make in HOSTILE if make.__name__.partition("_")[0] in
           ("pcd", "ply", "npz", "npy", "mcap", "las", "glb", "e57", "text", "csv", "obj")
           and make not in (mcap_chunk, glb_document)]  # fmt: skip


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_hostile_file_ends_soon(make: Callable[[], bytes], tmp_path: Path, baseline_mib: float) -> None:
    path = tmp_path / f"scan.{make.__name__.partition('_')[0].replace('text', 'xyz')}"
    path.write_bytes(make())
    outcome = inspect_process(path)
    assert outcome.code in (0, 2), outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.seconds < 5
    assert outcome.peak_mib - baseline_mib < 256
    if outcome.code == 2:
        assert outcome.err.count("\n") == 1
        assert path.name in outcome.err
    else:
        assert outcome.record["points"]["valid"] > 0
