"""The header of PLY files (Greg Turk, "The PLY Polygon File Format", 1994, and the types in use since)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foundry_edge_runtime.readers.columns import MAX_FIELDS
from foundry_edge_runtime.readers.counts import count_of, shorten
from foundry_edge_runtime.readers.source import Source

MAX_HEADER_BYTES = 1 << 20
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
    "int64": "i8", "uint64": "u8", "long": "i8", "ulong": "u8",
}  # fmt: skip
FORMATS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """One property; ``list_type`` is the type of a list's length, None for a scalar."""

    name: str
    dtype: np.dtype[np.generic]
    list_type: np.dtype[np.generic] | None = None


@dataclass
class Element:
    """One element: ``count`` rows of its properties."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    @property
    def has_lists(self) -> bool:
        """Whether its rows differ in length."""
        return any(p.list_type is not None for p in self.properties)

    @property
    def row_dtype(self) -> np.dtype[np.void]:
        """Packed dtype of a row without lists."""
        return np.dtype([(f"f{i}", p.dtype) for i, p in enumerate(self.properties)])

    @property
    def least_bytes(self) -> int:
        """The fewest bytes a row can have: every list empty."""
        return sum((p.list_type or p.dtype).itemsize for p in self.properties)


@dataclass(frozen=True)
class PlyHeader:
    """A checked header: elements in file order, byte order, and where the body starts."""

    encoding: str
    elements: tuple[Element, ...]
    body: int
    lines: int


def looks_like_ply(head: bytes) -> bool:
    """Whether the first line is the magic word."""
    return head[:3] == b"ply" and head[3:4] in (b"\n", b"\r", b" ", b"\t")


class _Parser:
    """State of a header being read, line by line."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.encoding = ""
        self.elements: list[Element] = []

    def feed(self, words: list[str], line: int) -> None:
        """Take one line that is not a comment."""
        keyword = words[0]
        if keyword == "format":
            self._format(words, line)
        elif keyword == "element":
            self._element(words, line)
        elif keyword == "property":
            self._property(words, line)
        else:
            raise self.source.error(
                f"header line {line}: unknown keyword {shorten(keyword)!r}, "
                "expected element, property or end_header"
            )

    def _format(self, words: list[str], line: int) -> None:
        if self.encoding:
            raise self.source.error(f"header line {line}: a second format line")
        if len(words) < 2 or words[1] not in FORMATS:
            raise self.source.error(
                f"header line {line}: unknown format {shorten(' '.join(words[1:]))!r}, "
                f"expected {', '.join(FORMATS)}"
            )
        self.encoding = words[1]
        if words[2:] != ["1.0"]:
            self.source.warn(f"format version {shorten(' '.join(words[2:]))!r} read as 1.0")

    def _element(self, words: list[str], line: int) -> None:
        if not self.encoding:
            raise self.source.error(f"header line {line}: element before the format line", "move format up")
        if len(words) != 3:
            raise self.source.error(f"header line {line}: expected 'element NAME COUNT'")
        name = words[1]
        if len(self.elements) >= MAX_FIELDS:
            raise self.source.error(f"header line {line}: more than {MAX_FIELDS} elements")
        if any(e.name == name for e in self.elements):
            raise self.source.error(f"header line {line}: element {shorten(name)!r} is given twice")
        count = count_of(self.source, words[2], f"header line {line}: count of element {shorten(name)!r}")
        self.elements.append(Element(name, count))

    def _property(self, words: list[str], line: int) -> None:
        if not self.elements:
            raise self.source.error(f"header line {line}: a property before any element")
        is_list = len(words) == 5 and words[1] == "list"
        if not is_list and len(words) != 3:
            raise self.source.error(
                f"header line {line}: expected 'property TYPE NAME' or 'property list TYPE TYPE NAME'"
            )
        types = [self._type(word, line) for word in words[1 + is_list : -1]]
        self._add(Property(words[-1], types[-1], types[0] if is_list else None), line)

    def _type(self, word: str, line: int) -> np.dtype[np.generic]:
        if word not in _TYPES:
            raise self.source.error(f"header line {line}: unknown property type {shorten(word)!r}")
        return np.dtype(_TYPES[word]).newbyteorder(FORMATS[self.encoding])  # type: ignore[arg-type]

    def _add(self, new: Property, line: int) -> None:
        element = self.elements[-1]
        if len(element.properties) >= MAX_FIELDS:
            raise self.source.error(f"header line {line}: more than {MAX_FIELDS} properties of one element")
        if any(p.name == new.name for p in element.properties):
            raise self.source.error(
                f"header line {line}: duplicate property {shorten(new.name)!r} of element {element.name!r}",
                "property names must be unique",
            )
        if new.list_type is not None and new.list_type.kind == "f":
            raise self.source.error(f"header line {line}: the length of a list has a floating-point type")
        element.properties.append(new)


def parse_header(source: Source) -> PlyHeader:
    """Read and check the header.

    Raises:
        ScanError: naming the header line, what was expected and what was found.
    """
    head = source.read(0, min(source.size, MAX_HEADER_BYTES))
    parser = _Parser(source)
    lone_cr = head[3:4] == b"\r" and head[4:5] != b"\n"  # old Macintosh line ends
    start, line = 0, 0
    while start < len(head):
        text, start = _next_line(head, start, lone_cr)
        line += 1
        words = text.decode("utf-8", "backslashreplace").split()
        if words[:1] == ["end_header"]:
            return _checked(source, parser, start, line)
        if line > 1 and words and words[0] not in ("comment", "obj_info"):
            parser.feed(words, line)
    raise source.error("the header has no end_header line")


def _next_line(head: bytes, start: int, lone_cr: bool) -> tuple[bytes, int]:
    """One line and the offset after its line end."""
    end = head.find(b"\r" if lone_cr else b"\n", start)
    if end < 0:
        end = len(head)
    return head[start:end], end + 1


def _checked(source: Source, parser: _Parser, body: int, lines: int) -> PlyHeader:
    if not parser.encoding:
        raise source.error("the header has no format line", "add 'format ascii 1.0' or the binary form")
    for element in parser.elements:
        if element.count and not element.properties:
            raise source.error(f"element {shorten(element.name)!r} has {element.count} rows but no property")
    return PlyHeader(parser.encoding, tuple(parser.elements), body, lines)
