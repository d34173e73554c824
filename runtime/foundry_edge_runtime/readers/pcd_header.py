"""The header of PCD 0.5 to 0.7 files (pointclouds.org, "The PCD file format")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundry_edge_runtime.readers.columns import MAX_FIELDS
from foundry_edge_runtime.readers.counts import count_of, shorten
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import is_number

ENCODINGS = ("ascii", "binary", "binary_compressed")
PADDING = "_"
MAX_HEADER_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_KEYWORDS = frozenset(
    (
        "VERSION",
        "FIELDS",
        "COLUMNS",
        "SIZE",
        "TYPE",
        "COUNT",
        "WIDTH",
        "HEIGHT",
        "VIEWPOINT",
        "POINTS",
        "DATA",
    )
)
_DTYPES = {
    ("I", 1): "i1", ("I", 2): "<i2", ("I", 4): "<i4", ("I", 8): "<i8",
    ("U", 1): "u1", ("U", 2): "<u2", ("U", 4): "<u4", ("U", 8): "<u8",
    ("F", 4): "<f4", ("F", 8): "<f8",
}  # fmt: skip
_ADD_DATA = "add DATA ascii, binary or binary_compressed"
_VERSIONS = ("0.5", "0.6", "0.7")


@dataclass(frozen=True)
class PcdField:
    """One dimension of the file: ``count`` values of ``dtype`` per point."""

    name: str
    dtype: np.dtype[np.generic]
    count: int

    @property
    def bytes(self) -> int:
        """Bytes of this field in one point."""
        return self.dtype.itemsize * self.count


@dataclass(frozen=True)
class PcdHeader:
    """A checked header.

    Attributes:
        fields: in file order, padding included.
        points: how many points the file claims.
        encoding: one of `ENCODINGS`.
        body: offset of the first byte after the DATA line.
        lines: header lines, DATA line included.
    """

    fields: tuple[PcdField, ...]
    points: int
    encoding: str
    body: int
    lines: int

    @property
    def point_bytes(self) -> int:
        """Bytes of one point in binary encodings."""
        return sum(f.bytes for f in self.fields)


def looks_like_pcd(head: bytes) -> bool:
    """Whether the first line that is no comment starts with a PCD keyword."""
    head = head.removeprefix(_BOM)
    for line in head.split(_line_end(head)):
        words = line.split()
        if not words:
            continue
        if words[0].startswith(b"#"):
            if b".PCD" in line[:64].upper():
                return True
            continue
        return len(words) > 1 and words[0].decode("latin-1").upper() in _KEYWORDS
    return False


def parse_header(source: Source) -> PcdHeader:
    """Read and check the header.

    Raises:
        ScanError: naming the header entry, what was expected and what was found.
    """
    entries, body, lines = _entries(source)
    _check_version(source, entries)
    _check_viewpoint(source, entries)
    return PcdHeader(
        _fields(source, entries), _points(source, entries), _encoding(source, entries), body, lines
    )


def _entries(source: Source) -> tuple[dict[str, list[str]], int, int]:
    """Keyword -> words, offset of the body, number of header lines."""
    head = source.read(0, min(source.size, MAX_HEADER_BYTES))
    entries: dict[str, list[str]] = {}
    line_end = _line_end(head)
    start, line_number = len(_BOM) if head.startswith(_BOM) else 0, 0
    while start < len(head):
        end = head.find(line_end, start)
        line = head[start : end if end >= 0 else len(head)]
        start = end + 1 if end >= 0 else len(head)
        line_number += 1
        words = _words(source, line, line_number)
        if not words:
            continue
        keyword = words[0].upper()
        _check_keyword(source, keyword, line_number, entries)
        entries[keyword] = words[1:]
        if keyword == "DATA":
            return entries, start, line_number
    if not entries:
        raise source.error("not a PCD file: no header keyword found")
    raise source.error("the header has no DATA line", _ADD_DATA)


def _line_end(head: bytes) -> bytes:
    """LF, also for CRLF; CR alone only where there is no LF at all."""
    return b"\n" if b"\n" in head else b"\r"


def _words(source: Source, line: bytes, line_number: int) -> list[str]:
    if line.lstrip().startswith(b"#"):
        return []  # a comment, in any encoding
    try:
        return line.decode("utf-8").split()
    except UnicodeDecodeError:
        keyword = line.split()[0].decode("latin-1")
        name = keyword if keyword.upper() in _KEYWORDS else "not a PCD file"
        raise source.error(
            f"header line {line_number} ({name}): bytes that are neither ASCII nor UTF-8", "use ASCII names"
        ) from None


def _check_keyword(source: Source, keyword: str, line_number: int, entries: dict[str, list[str]]) -> None:
    if keyword not in _KEYWORDS:
        if "FIELDS" in entries or "COLUMNS" in entries:
            raise source.error(
                f"the header has no DATA line: line {line_number} starts with {shorten(keyword)!r}", _ADD_DATA
            )
        raise source.error(
            f"not a PCD header: line {line_number} starts with {shorten(keyword)!r}, "
            "expected a keyword such as FIELDS, POINTS or DATA"
        )
    if keyword in entries:
        raise source.error(
            f"header line {line_number}: {keyword} is given twice", "remove one of the two lines"
        )


def _fields(source: Source, entries: dict[str, list[str]]) -> tuple[PcdField, ...]:
    names = entries.get("FIELDS", entries.get("COLUMNS"))
    if not names:
        raise source.error("the header has no FIELDS (or an empty FIELDS line)", "add e.g. FIELDS x y z")
    if len(names) > MAX_FIELDS:
        raise source.error(f"FIELDS names {len(names)} fields, at most {MAX_FIELDS} are read")
    sizes = [count_of(source, w, "SIZE") for w in _column(source, entries, "SIZE", names, "4")]
    types = _column(source, entries, "TYPE", names, "F")
    counts = [count_of(source, w, "COUNT", minimum=1) for w in _column(source, entries, "COUNT", names, "1")]
    fields = tuple(
        PcdField(*_named_dtype(source, name, kind, size), count)
        for name, kind, size, count in zip(names, types, sizes, counts, strict=True)
    )
    for key in {"SIZE", "TYPE"} - entries.keys():
        source.warn(f"the header has no {key} line: 4-byte floats assumed")
    return fields


def _column(
    source: Source, entries: dict[str, list[str]], key: str, names: list[str], default: str
) -> list[str]:
    words = entries.get(key)
    if words is None:
        return [default] * len(names)
    if len(words) != len(names):
        raise source.error(
            f"{key} has {len(words)} entries, FIELDS has {len(names)}", f"give one {key} per field"
        )
    return words


def _named_dtype(source: Source, name: str, kind: str, size: int) -> tuple[str, np.dtype[np.generic]]:
    if kind.upper() not in ("I", "U", "F"):
        raise source.error(f"TYPE of field {name!r}: expected I, U or F, found {shorten(kind)!r}")
    code = _DTYPES.get((kind.upper(), size))
    if code is None:
        allowed = "4 or 8" if kind.upper() == "F" else "1, 2, 4 or 8"
        raise source.error(f"SIZE of field {name!r} (TYPE {kind}): expected {allowed}, found {size}")
    return name, np.dtype(code)


def _points(source: Source, entries: dict[str, list[str]]) -> int:
    counts = {
        key: count_of(source, _single(source, entries, key), key)
        for key in ("WIDTH", "HEIGHT", "POINTS")
        if key in entries
    }
    if "WIDTH" not in counts:
        if "POINTS" in counts:
            return counts["POINTS"]
        raise source.error("the header has neither WIDTH nor POINTS", "add POINTS")
    area = counts["WIDTH"] * counts.get("HEIGHT", 1)
    if counts.get("POINTS", area) != area:
        raise source.error(
            f"POINTS {counts['POINTS']} differs from WIDTH x HEIGHT = {area}", "make POINTS = WIDTH x HEIGHT"
        )
    return area


def _single(source: Source, entries: dict[str, list[str]], key: str) -> str:
    words = entries[key]
    if len(words) != 1:
        raise source.error(f"{key}: expected one value, found {len(words)}")
    return words[0]


def _encoding(source: Source, entries: dict[str, list[str]]) -> str:
    word = _single(source, entries, "DATA")
    if word.lower() not in ENCODINGS:
        raise source.error(f"DATA {shorten(word)!r} is unknown", f"use one of {', '.join(ENCODINGS)}")
    return word.lower()


def _check_version(source: Source, entries: dict[str, list[str]]) -> None:
    word = " ".join(entries.get("VERSION", ["0.7"]))
    if word not in _VERSIONS and f"0{word}" not in _VERSIONS:
        source.warn(f"VERSION {shorten(word)!r} is not one of {', '.join(_VERSIONS)}: read as 0.7")


def _check_viewpoint(source: Source, entries: dict[str, list[str]]) -> None:
    """Points are not moved by it, so a malformed one is no reason to refuse them."""
    words = entries.get("VIEWPOINT", ["0"] * 7)
    if len(words) != 7 or not all(is_number(word.encode()) for word in words):
        source.warn(f"VIEWPOINT {shorten(' '.join(words))!r} is not 7 numbers and was ignored")
