"""Which format an input has: by its content; the name is a hint only."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.pcd_header import looks_like_pcd
from foundry_edge_runtime.readers.ply_header import looks_like_ply
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import is_number, lines_of

SUFFIXES = {
    ".pcd": "pcd", ".ply": "ply", ".npy": "npy", ".npz": "npz", ".bin": "bin", ".las": "las", ".laz": "las",
    ".copc": "las", ".xyz": "text", ".csv": "text", ".txt": "text", ".pts": "text", ".asc": "text",
    ".off": "off", ".obj": "obj", ".stl": "stl", ".glb": "glb", ".mcap": "mcap", ".e57": "e57",
}  # fmt: skip
"""File name suffix -> format; also what a folder is searched for."""

_MAGICS = (
    (b"LASF", "las"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
    (b"PK\x05\x06", "npz"),
    (b"\x89MCAP0\r\n", "mcap"),
    (b"glTF", "glb"),
    (b"ASTM-E57", "e57"),
)
_FOREIGN = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the data", "run 'git lfs pull'"),
    (b"\x1f\x8b", "is a gzip archive", "decompress it first (gunzip)"),
    (b"\x28\xb5\x2f\xfd", "is a Zstandard archive", "decompress it first (zstd -d)"),
    (b"BZh", "is a bzip2 archive", "decompress it first (bunzip2)"),
    (b"\xfd7zXZ\x00", "is an xz archive", "decompress it first (unxz)"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", "extract it first"),
    (b"#ROSBAG", "is a ROS 1 bag", "convert it to mcap (rosbags-convert)"),
    (b"SQLite format 3\x00", "is a ROS 2 bag in SQLite form", "convert it to mcap (ros2 bag convert)"),
    (b"\x89PNG", "is a PNG image", "give a point cloud"),
    (b"\xff\xd8\xff", "is a JPEG image", "give a point cloud"),
    (b"%PDF", "is a PDF document", "give a point cloud"),
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file", "save the points as .npy"),
    (b"\x7fELF", "is a program", "give a point cloud"),
)
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_HTML = re.compile(
    rb"\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body|\?xml|svg)", re.IGNORECASE | re.DOTALL
)
_OFF = re.compile(rb"(ST)?(C)?(N)?(4)?(n)?OFF(\s|\Z)")
_OBJ_WORDS = frozenset((b"v", b"vn", b"vt", b"vp", b"f", b"l", b"p", b"o", b"g", b"s", b"mtllib", b"usemtl"))
_TEXT_BYTES = bytes(range(32, 127)) + b"\t\r\n\x0c\x0b"


def detect(source: Source, columns: tuple[str, ...] | None = None) -> str:
    """The format's name in the registry.

    Args:
        source: the input.
        columns: names of columns, when the user gave them (makes an unknown binary file a raw table).

    Raises:
        ScanError: the content is something else than a scan (a Git LFS pointer, an HTML page, an archive).
    """
    head = source.head
    if known := _by_magic(head):
        return known
    _refuse_foreign(source, head)
    if known := _by_shape(source, head):
        return known
    hint = SUFFIXES.get(source.suffix)
    if hint == "bin" or (columns and not hint and not is_text(head)):
        return "bin"
    if hint in ("las", "stl", "off", "obj", "e57", "glb", "mcap", "npy", "npz"):
        return hint
    if hint not in ("pcd", "ply") and is_text(head):
        return "text"
    raise not_a(source, hint)


def not_a(source: Source, hint: str | None) -> ScanError:
    """The error for content that is no known format."""
    name = (hint or "scan").upper() if hint != "text" else "table of points"
    return source.error(
        f"not a {name} file: its header is of no known format (first bytes {source.head[:8]!r})",
        "check that the file is a point cloud; for a headerless binary table pass --columns x,y,z,...",
    )


def first_of_paths(head: bytes) -> str:
    """The first path where all lines, or all before NUL bytes, end as names of scans do; "" elsewhere."""
    names = re.split(rb"[\r\n\0]+", head)
    whole = [os.fsdecode(name) for name in names[:-1] or names]
    return whole[0] if all(PurePosixPath(name).suffix.lower() in SUFFIXES for name in whole) else ""


def is_text(head: bytes) -> bool:
    """Whether the bytes are text in ASCII, UTF-8 or a single-byte encoding."""
    odd = head.translate(None, _TEXT_BYTES)
    return (
        b"\x00" not in odd and len(odd) <= len(head) * 0.3 and not odd.translate(None, bytes(range(128, 256)))
    )


def _by_magic(head: bytes) -> str:
    if looks_like_ply(head):
        return "ply"
    return next((name for magic, name in _MAGICS if head.startswith(magic)), "")


def _by_shape(source: Source, head: bytes) -> str:
    if looks_like_pcd(head):
        return "pcd"
    if _is_binary_stl(source, head):
        return "stl"
    text = head.removeprefix(b"\xef\xbb\xbf")
    if _OFF.match(text.lstrip()):
        return "off"
    if not is_text(head):
        return ""
    if text.lstrip()[:5].lower() == b"solid" and (b"facet" in text.lower() or b"endsolid" in text.lower()):
        return "stl"
    return "obj" if _looks_like_obj(text) else ""


def _is_binary_stl(source: Source, head: bytes) -> bool:
    if len(head) < 84:
        return False
    triangles = int.from_bytes(head[80:84], "little")
    return source.size == 84 + 50 * triangles and triangles > 0 and source.suffix != ".bin"


def _looks_like_obj(text: bytes) -> bool:
    for line in lines_of(text[:8192]):
        words = line.split()
        if words[0].startswith(b"#"):
            continue
        if words[0] not in _OBJ_WORDS:
            return False
        if words[0] == b"v":
            return len(words) >= 4 and all(is_number(word) for word in words[1:4])
    return False


def _refuse_foreign(source: Source, head: bytes) -> None:
    for magic, problem, remedy in _FOREIGN:
        if head.startswith(magic):
            raise source.error(f"not a point cloud: the file {problem}", remedy)
    if head.lstrip()[:1] == b"{" and b'"asset"' in head:
        raise source.error("is a glTF in JSON form, whose data lie in other files", "export it as GLB")
    if head.startswith(_UTF16) and head.count(b"\x00") > len(head) // 4:
        raise source.error("the file is encoded as UTF-16", "save it as ASCII or UTF-8")
    if _HTML.match(head):
        raise source.error(
            "not a point cloud: the file is an HTML or XML page", "the download failed: fetch it again"
        )
