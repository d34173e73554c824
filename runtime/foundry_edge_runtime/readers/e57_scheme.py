"""The XML section of an E57 file: which scans there are and how their points are coded (ASTM E2807-11, 8)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.counts import count_of, shorten
from foundry_edge_runtime.readers.rotation import rotation_matrix
from foundry_edge_runtime.readers.source import Source

_INT64 = (-(2**63), 2**63 - 1)


@dataclass(frozen=True)
class E57Field:
    """One field of a point: a float of 4 or 8 bytes, or an integer of ``bits`` bits above ``minimum``.

    The value is ``integer x scale + offset``.
    """

    name: str
    float_bytes: int = 0
    bits: int = 0
    minimum: int = 0
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class E57Scan:
    """One scan: where its points are, how many, their fields, and its pose in the file's coordinates."""

    offset: int
    points: int
    fields: tuple[E57Field, ...]
    rotation: tuple[float, float, float, float]
    translation: tuple[float, float, float]

    def to_file(self, xyz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Points of the scan in the coordinates of the file."""
        if self.rotation == (1, 0, 0, 0) and not any(self.translation):
            return xyz
        moved: npt.NDArray[np.float64] = xyz @ rotation_matrix(*self.rotation).T + np.array(self.translation)
        return moved


def parse_scans(source: Source, xml: bytes) -> list[E57Scan]:
    """The scans that the XML section lists.

    Raises:
        ScanError: it is no E57 XML, or an entry of a scan is missing or malformed.
    """
    if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
        raise source.error("the XML section of the E57 file declares a DOCTYPE, which no E57 writer does")
    try:
        text = xml.rstrip(b"\x00 \r\n").decode("utf-8")  # the standard allows no other encoding
        root = ElementTree.fromstring(text)  # noqa: S314 - no DOCTYPE, so no entities
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise source.error(f"the XML section of the E57 file is malformed: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return [_scan(source, child) for child in root.findall("data3D/vectorChild")]


def _scan(source: Source, element: ElementTree.Element) -> E57Scan:
    points = element.find("points")
    if points is None:
        raise source.error("a scan of the E57 file has no points element")
    prototype = points.find("prototype")
    rotation = [_float(source, element, f"pose/rotation/{axis}", float(axis == "w")) for axis in "wxyz"]
    length = math.sqrt(sum(value * value for value in rotation))
    if not 0.5 < length < 2:
        raise source.error(f"the pose of an E57 scan has a rotation of length {length:g}, expected 1")
    w, x, y, z = (value / length for value in rotation)
    shift = [_float(source, element, f"pose/translation/{axis}", 0.0) for axis in "xyz"]
    return E57Scan(
        count_of(source, points.get("fileOffset", ""), "fileOffset of the E57 points"),
        count_of(source, points.get("recordCount", ""), "recordCount of the E57 points"),
        tuple(_field(source, child) for child in (prototype if prototype is not None else ())),
        (w, x, y, z),
        (shift[0], shift[1], shift[2]),
    )


def _field(source: Source, element: ElementTree.Element) -> E57Field:
    kind, name = element.get("type"), element.tag
    if kind == "Float":
        return E57Field(name, float_bytes=4 if element.get("precision") == "single" else 8)
    if kind not in ("Integer", "ScaledInteger"):
        raise source.error(
            f"field {shorten(name)!r} of the E57 points has the unknown type {shorten(str(kind))!r}"
        )
    low = _integer(source, element, "minimum", _INT64[0])
    high = _integer(source, element, "maximum", _INT64[1])
    if not _INT64[0] <= low <= high <= _INT64[1]:
        raise source.error(f"field {shorten(name)!r} of the E57 points: minimum {low} above maximum {high}")
    scale = _number(source, element.get("scale"), 1.0) if kind == "ScaledInteger" else 1.0
    offset = _number(source, element.get("offset"), 0.0) if kind == "ScaledInteger" else 0.0
    return E57Field(name, bits=(high - low).bit_length(), minimum=low, scale=scale, offset=offset)


def _integer(source: Source, element: ElementTree.Element, key: str, default: int) -> int:
    text = element.get(key)
    try:
        return default if text is None else int(text[:32])
    except ValueError:
        raise source.error(f"{key} of the E57 field {shorten(element.tag)!r} is no integer") from None


def _float(source: Source, element: ElementTree.Element, path: str, default: float) -> float:
    found = element.find(path)
    if found is None:
        return default
    return _number(source, found.text, 0.0)


def _number(source: Source, text: str | None, default: float) -> float:
    """A finite number; an empty element stands for 0."""
    try:
        value = default if text is None or not text.strip() else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise source.error(f"expected a finite number in the E57 XML section, found {shorten(str(text))!r}")
    return value
