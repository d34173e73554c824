"""Small scans in every format that is read, written here byte by byte from the specifications.

They are the seeds of the fuzzers and the fixtures of the reader tests: independent of the readers, so that a
mistake in one is not repeated in the other. LAZ and compressed MCAP chunks use the libraries' own encoders.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable

import laspy
import lz4.frame
import lzf
import numpy as np
import numpy.typing as npt
import zstandard

Points = npt.NDArray[np.float32]


def points(count: int = 120, seed: int = 7) -> Points:
    """(count, 3) float32 within a room."""
    generator = np.random.default_rng(seed)
    return generator.uniform((-20, -20, -2), (20, 20, 3), (count, 3)).astype(np.float32)


def intensity(count: int = 120) -> npt.NDArray[np.float32]:
    """(count,) float32 from 0 to 1."""
    return np.linspace(0, 1, count, dtype=np.float32)


def pcd_header(
    count: int, data: str, fields: str = "x y z intensity", size: int = 4, kind: str = "F"
) -> bytes:
    """A PCD 0.7 header for scalar fields of one size and type."""
    n = len(fields.split())
    return (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {fields}\nSIZE {' '.join([str(size)] * n)}\nTYPE {' '.join([kind] * n)}\n"
        f"COUNT {' '.join(['1'] * n)}\nWIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
        f"POINTS {count}\nDATA {data}\n"
    ).encode()


def _table() -> Points:
    return np.column_stack([points(), intensity()]).astype(np.float32)


def _rows(table: npt.NDArray[np.floating], delimiter: str = " ") -> bytes:
    buffer = io.StringIO()
    np.savetxt(buffer, table, fmt="%.7g", delimiter=delimiter)
    return buffer.getvalue().encode()


def pcd_ascii() -> bytes:
    """PCD, DATA ascii."""
    return pcd_header(120, "ascii") + _rows(_table())


def pcd_binary() -> bytes:
    """PCD, DATA binary."""
    return pcd_header(120, "binary") + _table().tobytes()


def pcd_compressed() -> bytes:
    """PCD, DATA binary_compressed: LZF over one field after the other."""
    planes = np.round(_table(), 1).T.tobytes()
    packed = lzf.compress(planes) or b""
    return pcd_header(120, "binary_compressed") + struct.pack("<II", len(packed), len(planes)) + packed


def ply_header(encoding: str, faces: int = 0) -> bytes:
    """A PLY header with x, y, z and an intensity, and faces if asked for."""
    face = f"element face {faces}\nproperty list uchar int vertex_indices\n" if faces else ""
    return (
        f"ply\nformat {encoding} 1.0\ncomment sample\nelement vertex 120\n"
        "property float x\nproperty float y\n"
        f"property float z\nproperty float intensity\n{face}end_header\n"
    ).encode()


def ply_ascii() -> bytes:
    """PLY ascii with faces."""
    return ply_header("ascii", 3) + _rows(_table()) + b"3 0 1 2\n4 0 1 2 3\n3 1 2 3\n"


def ply_little() -> bytes:
    """PLY little endian with faces of different sizes."""
    faces = struct.pack("<B3iB4iB3i", 3, 0, 1, 2, 4, 0, 1, 2, 3, 3, 1, 2, 3)
    return ply_header("binary_little_endian", 3) + _table().tobytes() + faces


def ply_big() -> bytes:
    """PLY big endian."""
    return ply_header("binary_big_endian") + _table().astype(">f4").tobytes()


def npy() -> bytes:
    """NPY, (120, 4) float32."""
    buffer = io.BytesIO()
    np.save(buffer, _table())
    return buffer.getvalue()


def npz() -> bytes:
    """Compressed NPZ with points and an attribute."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, points=points(), intensity=intensity())
    return buffer.getvalue()


def kitti() -> bytes:
    """KITTI style .bin: x, y, z, intensity as float32, 501 rows so that one width fits."""
    cloud = np.column_stack([points(502), np.linspace(0, 1, 502)]).astype("<f4")
    return cloud.tobytes()


def xyz() -> bytes:
    """White space, no header."""
    return _rows(points())


def csv() -> bytes:
    """Commas and column names out of order."""
    return b"intensity,z,x,y\n" + _rows(_table()[:, [3, 2, 0, 1]], ",")


def pts() -> bytes:
    """PTS: the number of points first."""
    return b"120\n" + _rows(_table())


CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
CUBE_FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


def off() -> bytes:
    """OFF: the unit cube, with a comment."""
    faces = b"".join(b"3 %d %d %d\n" % tuple(face) for face in CUBE_FACES.tolist())
    return b"OFF\n# cube\n8 12 0\n" + _rows(CUBE) + faces


def obj() -> bytes:
    """OBJ: the unit cube, with texture indices and a missing material file."""
    vertices = b"".join(b"v %g %g %g\n" % tuple(row) for row in CUBE.tolist())
    faces = b"".join(b"f %d/1 %d/1 %d/1\n" % tuple(row) for row in (CUBE_FACES + 1).tolist())
    return b"# cube\nmtllib none.mtl\n" + vertices + b"vt 0 0\n" + faces


def stl_binary() -> bytes:
    """Binary STL whose header starts with "solid", as some writers have it."""
    facets = np.zeros(12, np.dtype([("n", "<f4", 3), ("v", "<f4", (3, 3)), ("a", "<u2")]))
    facets["v"] = CUBE[CUBE_FACES]
    return b"solid cube".ljust(80) + struct.pack("<I", 12) + facets.tobytes()


def stl_ascii() -> bytes:
    """Text STL."""
    facets = "".join(
        "facet normal 0 0 0\nouter loop\n"
        + "".join(f"vertex {x:g} {y:g} {z:g}\n" for x, y, z in corners)
        + "endloop\nendfacet\n"
        for corners in CUBE[CUBE_FACES].tolist()
    )
    return f"solid cube\n{facets}endsolid cube\n".encode()


def glb() -> bytes:
    """GLB: the unit cube, moved by its node's translation (10, 0, 0)."""
    binary = CUBE.tobytes() + CUBE_FACES.astype("<u2").tobytes()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "translation": [10, 0, 0]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 96},
            {"buffer": 0, "byteOffset": 96, "byteLength": 72},
        ],
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(binary)
    chunks = (
        struct.pack("<II", len(text), 0x4E4F534A)
        + text
        + struct.pack("<II", len(binary), 0x004E4942)
        + binary
    )
    return struct.pack("<4sII", b"glTF", 2, length) + chunks


def las(minor: int = 2) -> bytes:
    """LAS 1.2 (or 1.4), point format 3, millimetres around a UTM position."""
    size = 375 if minor == 4 else 227
    header = bytearray(size)
    header[:4] = b"LASF"
    header[24:26] = bytes([1, minor])
    struct.pack_into("<HII", header, 94, size, size, 0)
    struct.pack_into("<BHI", header, 104, 3, 34, 120)
    struct.pack_into("<6d", header, 131, 0.001, 0.001, 0.001, 500_000, 5_400_000, 100)
    if minor == 4:
        struct.pack_into("<Q", header, 247, 120)
    dtype = np.dtype([("xyz", "<i4", 3), ("intensity", "<u2"), ("rest", "V20")])
    records = np.zeros(120, dtype)
    records["xyz"] = np.round(points() * 1000)
    records["intensity"] = np.arange(120)
    return bytes(header) + records.tobytes()


def laz() -> bytes:
    """LAZ by laspy and lazrs."""
    with laspy.open(io.BytesIO(las())) as reader:
        cloud = reader.read()
    buffer = io.BytesIO()
    cloud.write(buffer, do_compress=True)
    return buffer.getvalue()


def _record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


def pointcloud2(cloud: Points) -> bytes:
    """A sensor_msgs/PointCloud2 message with x, y and z, little-endian CDR."""
    body = bytearray(struct.pack("<iI", 1, 2) + struct.pack("<I", 4) + b"map\x00")
    body += struct.pack("<III", 1, len(cloud), 3)
    for index, name in enumerate(b"xyz"):
        body += struct.pack("<I", 2) + bytes([name, 0]) + b"\x00\x00"
        body += struct.pack("<IB3xI", 4 * index, 7, 1)
    body += struct.pack("<B3xIII", 0, 12, 12 * len(cloud), 12 * len(cloud)) + cloud.tobytes() + b"\x01"
    return b"\x00\x01\x00\x00" + bytes(body)


def _mcap_records() -> bytes:
    """A schema, a channel and three PointCloud2 messages."""
    inner = _record(
        3, struct.pack("<H", 1) + _text("sensor_msgs/msg/PointCloud2") + _text("ros2msg") + _text("")
    )
    inner += _record(4, struct.pack("<HH", 1, 1) + _text("/points") + _text("cdr") + struct.pack("<I", 0))
    for number in range(3):
        head = struct.pack("<HIQQ", 1, number, number, number)
        inner += _record(5, head + pointcloud2(points(40, seed=number)))
    return inner


def mcap(compression: str = "") -> bytes:
    """MCAP with three PointCloud2 messages in one chunk with a checksum."""
    inner = _mcap_records()
    packed = _compressed(inner, compression)
    chunk = struct.pack("<QQQI", 0, 2, len(inner), zlib.crc32(inner)) + _text(compression)
    data = b"\x89MCAP0\r\n" + _record(1, _text("ros2") + _text("samples"))
    data += _record(6, chunk + struct.pack("<Q", len(packed)) + packed)
    data += _record(15, struct.pack("<I", zlib.crc32(data)))
    return data + _record(2, struct.pack("<QQI", 0, 0, 0)) + b"\x89MCAP0\r\n"


def mcap_zstd() -> bytes:
    """MCAP with a chunk compressed by zstd."""
    return mcap("zstd")


def mcap_lz4() -> bytes:
    """MCAP with a chunk compressed by lz4."""
    return mcap("lz4")


def _compressed(data: bytes, compression: str) -> bytes:
    if compression == "zstd":
        return zstandard.ZstdCompressor().compress(data)
    if compression == "lz4":
        return bytes(lz4.frame.compress(data))
    return data


E57_XML = """<?xml version="1.0" encoding="UTF-8"?>
<e57Root type="Structure" xmlns="http://www.astm.org/COMMIT/E57/2010-e57-v1.0">
<data3D type="Vector"><vectorChild type="Structure">
<pose type="Structure"><rotation type="Structure"><w type="Float">1</w></rotation>
<translation type="Structure"><x type="Float">{shift}</x></translation></pose>
<points type="CompressedVector" fileOffset="48" recordCount="{count}"><prototype type="Structure">
<cartesianX type="Float" precision="single"/><cartesianY type="Float"/>
<cartesianZ type="ScaledInteger" minimum="-4096" maximum="4095" scale="0.001"/>
<intensity type="Integer" minimum="0" maximum="127"/>
</prototype></points></vectorChild></data3D></e57Root>"""


def e57(shift: float = 5.0) -> bytes:
    """E57: single, double, scaled 13-bit and 7-bit fields in one packet, and a pose."""
    cloud = points()
    streams = [
        cloud[:, 0].tobytes(),
        cloud[:, 1].astype("<f8").tobytes(),
        pack_bits(np.round(cloud[:, 2] * 1000).astype(np.int64) + 4096, 13),
        pack_bits(np.arange(120), 7),
    ]
    body = b"".join(streams)
    head = struct.pack("<H", 4) + struct.pack("<4H", *(len(stream) for stream in streams))
    length = 4 + len(head) + len(body)
    padding = -length % 4
    packet = struct.pack("<BBH", 1, 0, length + padding - 1) + head + body + bytes(padding)
    section = struct.pack("<B7xQQQ", 1, 32 + len(packet), 48 + 32, 0) + packet
    xml = E57_XML.format(shift=shift, count=120).encode()
    return e57_pages(section, xml)


def pack_bits(values: npt.NDArray[np.int64], bits: int) -> bytes:
    """Integers of ``bits`` bits, least significant bit first, without gaps."""
    cells = (values[:, None] >> np.arange(bits)) & 1
    return np.packbits(cells.astype(np.uint8).ravel(), bitorder="little").tobytes()


def e57_pages(section: bytes, xml: bytes) -> bytes:
    """Header, a section and XML, cut into pages with their CRC-32C."""
    body = bytes(48) + section
    xml_at = len(body) // 1020 * 1024 + len(body) % 1020
    body += xml
    body += bytes(-len(body) % 1020)
    pages = len(body) // 1020
    header = struct.pack("<8sIIQQQQ", b"ASTM-E57", 1, 0, pages * 1024, xml_at, len(xml), 1024)
    body = header + body[48:]
    parts = [body[i * 1020 : (i + 1) * 1020] for i in range(pages)]
    return b"".join(part + struct.pack(">I", _crc32c(part)) for part in parts)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def seal_e57(data: bytes) -> bytes:
    """The pages of an E57 file with their checksums made right."""
    pages = [data[i : i + 1020] for i in range(0, len(data), 1024)]
    table = np.frombuffer(b"".join(page.ljust(1020, b"\x00") for page in pages), np.uint8).reshape(-1, 1020)
    crc = np.full(len(table), 0xFFFFFFFF, np.uint32)
    for column in table.T:
        crc ^= column
        for _ in range(8):
            crc = (crc >> np.uint32(1)) ^ ((crc & np.uint32(1)) * np.uint32(0x82F63B78))
    sums = (crc ^ np.uint32(0xFFFFFFFF)).astype(">u4").view(np.uint8).reshape(-1, 4)
    return np.concatenate([table, sums], axis=1).tobytes()


def mcap_open() -> bytes:
    """MCAP without chunks and checksums: nothing but the reader's own checks stands guard."""
    data = b"\x89MCAP0\r\n" + _record(1, _text("ros2") + _text("samples")) + _mcap_records()
    return data + _record(15, bytes(4)) + _record(2, bytes(20)) + b"\x89MCAP0\r\n"


REPAIRS: dict[str, Callable[[bytes], bytes]] = {"scan.e57": seal_e57}
"""What a careful attacker would mend in a mutant."""

SAMPLES: dict[str, Callable[[], bytes]] = {
    "ascii.pcd": pcd_ascii, "binary.pcd": pcd_binary, "compressed.pcd": pcd_compressed,
    "ascii.ply": ply_ascii, "little.ply": ply_little, "big.ply": ply_big,
    "array.npy": npy, "archive.npz": npz, "kitti.bin": kitti,
    "plain.xyz": xyz, "named.csv": csv, "counted.pts": pts,
    "cube.off": off, "cube.obj": obj, "binary.stl": stl_binary, "ascii.stl": stl_ascii, "cube.glb": glb,
    "utm.las": las, "utm.laz": laz, "bag.mcap": mcap, "open.mcap": mcap_open,
    "zstd.mcap": mcap_zstd, "lz4.mcap": mcap_lz4,
    "scan.e57": e57,
}  # fmt: skip
"""File name -> the function that makes its bytes."""
