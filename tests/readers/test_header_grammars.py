"""Properties of the header grammars: what a format allows is read back, anything else is one clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundry_edge_runtime.errors import FoundryEdgeError
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import join, scans_in
from foundry_edge_runtime.readers.source import from_bytes

RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PCD_TYPES = [
    ("I", 1),
    ("I", 2),
    ("I", 4),
    ("I", 8),
    ("U", 1),
    ("U", 2),
    ("U", 4),
    ("U", 8),
    ("F", 4),
    ("F", 8),
]
PLY_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
NAMES = st.text("abcdefghijklmnopqrstuvw_ABC0189", min_size=1, max_size=8).filter(
    lambda name: name not in ("rgb", "rgba") and not name.startswith("_")
)


def read(data: bytes, name: str, **options: Any) -> PointCloud:
    return join(list(scans_in(from_bytes(data, name), Options(**options))))


def outcome(data: bytes, name: str) -> str:
    """ "points", or the one line of the error."""
    message = "points"
    try:
        read(data, name)
    except FoundryEdgeError as error:
        message = str(error)
    assert message == "points" or (name in message and "\n" not in message)
    return message


def positions(cloud: PointCloud) -> Any:
    return cloud.xyz.astype(np.float64) + cloud.origin


@st.composite
def pcd_files(draw: st.DrawFn) -> tuple[bytes, Any]:
    """A binary PCD with random fields, types, counts, order, comments and spacing, and its positions."""
    axes = [(axis, *draw(st.sampled_from(PCD_TYPES)), 1) for axis in "xyz"]
    others = draw(st.lists(st.tuples(NAMES, st.sampled_from(PCD_TYPES), st.integers(1, 4)), max_size=4))
    extra = [(name, *kind, count) for name, kind, count in others if name.lower() not in "xyz"]
    padding = [("_", "U", 1, count) for count in draw(st.lists(st.integers(1, 5), max_size=2))]
    fields = draw(st.permutations([*axes, *extra, *padding]))
    rows = np.zeros(
        draw(st.integers(1, 6)),
        [(f"f{i}", f"<{kind.lower()}{size}", (count,)) for i, (_, kind, size, count) in enumerate(fields)],
    )
    for i, (name, *_) in enumerate(fields):
        if name in "xyz":
            rows[f"f{i}"][:, 0] = draw(
                st.lists(st.integers(0, 100), min_size=len(rows), max_size=len(rows)).map(np.array)
            )
    expected = np.column_stack(
        [next(rows[f"f{i}"][:, 0] for i, field in enumerate(fields) if field[0] == axis) for axis in "xyz"]
    )
    gap = draw(st.sampled_from([" ", "\t", "  ", " \t "]))
    end = draw(st.sampled_from(["\n", "\r\n", " \n"]))
    lines = [
        "VERSION 0.7",
        gap.join(["FIELDS", *(field[0] for field in fields)]),
        gap.join(["SIZE", *(str(field[2]) for field in fields)]),
        gap.join(["TYPE", *(field[1] for field in fields)]),
        gap.join(["COUNT", *(str(field[3]) for field in fields)]),
        f"WIDTH {len(rows)}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {len(rows)}",
    ]
    lines = draw(st.permutations(lines))
    comment = draw(st.binary(max_size=12)).replace(b"\n", b"").replace(b"\r", b"")
    header = b"#" + comment + b"\n" + end.join([*lines, "DATA binary"]).encode() + end.encode()
    return header + rows.tobytes(), expected.astype(np.float64)


@RELAXED
@given(pcd_files())
def test_every_pcd_that_the_format_allows_is_read(case: tuple[bytes, Any]) -> None:
    data, expected = case
    assert np.allclose(positions(read(data, "p.pcd")), expected, atol=1e-4)


@RELAXED
@given(pcd_files(), st.data())
def test_pcd_short_of_one_byte_is_refused(case: tuple[bytes, Any], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, 8))
    body = case[0].index(b"DATA binary")
    assert outcome(case[0][: max(body, len(case[0]) - cut)], "p.pcd") != "points"


@st.composite
def ply_files(draw: st.DrawFn) -> tuple[bytes, Any]:
    """A binary PLY with random types, orders, comments and elements, and its positions."""
    order = draw(st.sampled_from(["<", ">"]))
    count = draw(st.integers(1, 6))
    names = draw(st.permutations(["x", "y", "z", *draw(st.lists(NAMES, max_size=3, unique_by=str.lower))]))
    kinds = [draw(st.sampled_from(sorted(PLY_TYPES))) for _ in names]
    rows = np.zeros(count, [(name, order + PLY_TYPES[kind]) for name, kind in zip(names, kinds, strict=True)])
    for axis in "xyz":
        rows[axis] = draw(st.lists(st.integers(0, 100), min_size=count, max_size=count))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    encoding = "binary_little_endian" if order == "<" else "binary_big_endian"
    lines = ["ply", f"format {encoding} 1.0", "comment any text", f"element vertex {count}"]
    lines += [f"property {kind} {name}" for name, kind in zip(names, kinds, strict=True)]
    lists = draw(st.lists(st.integers(0, 5), max_size=5))
    faces = b""
    if lists:
        lines += [f"element face {len(lists)}", "obj_info x", "property list uchar ushort vertex_index"]
        faces = b"".join(bytes([n]) + np.zeros(n, order + "u2").tobytes() for n in lists)
    header = end.join([*lines, "end_header"]) + end
    return header.encode() + rows.tobytes() + faces, np.column_stack([rows[a] for a in "xyz"]).astype(
        np.float64
    )


@RELAXED
@given(ply_files())
def test_every_ply_that_the_format_allows_is_read(case: tuple[bytes, Any]) -> None:
    data, expected = case
    assert np.allclose(positions(read(data, "p.ply")), expected, atol=1e-4)


@RELAXED
@given(ply_files())
def test_ply_short_of_one_byte_is_refused(case: tuple[bytes, Any]) -> None:
    assert "truncated" in outcome(case[0][:-1], "p.ply")


WORDS = st.sampled_from(
    b"VERSION FIELDS SIZE TYPE COUNT WIDTH HEIGHT VIEWPOINT POINTS DATA x y z _ rgb 4 8 -1 0 1 3 F U I ascii "
    b"binary binary_compressed ply format ascii 1.0 element vertex face property list uchar int float "
    b"end_header OFF v f # solid facet 4294967296 99999999999999999999 nan \xff".split()
)
LINES = st.lists(st.lists(WORDS, max_size=8).map(b" ".join), max_size=14).map(b"\n".join)


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(
        [b"", b"ply\nformat ascii 1.0\n", b"# .PCD v0.7\nVERSION 0.7\n", b"OFF\n", b"solid x\nfacet\n"]
    ),
    LINES,
    st.binary(max_size=40),
    st.sampled_from(["s.pcd", "s.ply", "s.xyz", "s.off", "s.obj", "s.stl", "s"]),
)
def test_any_words_in_any_order_end_in_points_or_one_line(
    start: bytes, lines: bytes, body: bytes, name: str
) -> None:
    outcome(start + lines + b"\n" + body, name)


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.,;+-eE \t\n\rxyz#/\"'nainf", max_size=120))
def test_any_text_ends_in_points_or_one_line(text: str) -> None:
    outcome(text.encode(), "t.txt")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-1e6, 1e6, allow_subnormal=False)] * 3), min_size=1, max_size=20),
    st.sampled_from([" ", ",", ";", "\t", ", ", "   "]),
    st.sampled_from(["\n", "\r\n", "\r", " \n", "\n\n"]),
    st.sampled_from(["", "x y z", "# comment", "// x y z"]),
)
def test_text_tables_in_any_dress_are_read(
    rows: list[tuple[float, float, float]], gap: str, end: str, head: str
) -> None:
    head = gap.join(head.split(" ")) if head == "x y z" else head
    lines = [head] * bool(head) + [gap.join(map(repr, row)) for row in rows]
    cloud = read((end.join(lines) + end).encode(), "t.txt")
    assert np.allclose(positions(cloud), np.array(rows), rtol=1e-5, atol=1e-1)
    assert np.allclose([cloud.bounds.min, cloud.bounds.max], [np.min(rows, 0), np.max(rows, 0)], rtol=1e-15)
