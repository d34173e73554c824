"""Which files an ONNX graph would open, found without onnx and before ONNX Runtime sees it.

ONNX Runtime follows external-data locations such as ``../secret`` (1.23) and takes a special location
for a memory address. So the serialised ModelProto is walked here (field numbers: onnx.proto, IR 10),
every TensorProto wherever it is nested, and each location is compared with the files that the manifest
names. Nothing is decoded but what the walk needs; depth and size are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from foundry_edge_runtime.errors import BundleError

MAX_DEPTH = 64  # nested messages; real graphs with subgraphs stay under 20
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ALLOWED_KEYS = {"location", "offset", "length", "checksum"}
_EXTERNAL = 1  # TensorProto.DataLocation.EXTERNAL

# message -> field number -> message inside it
_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
}


@dataclass(frozen=True)
class ExternalTensor:
    """A tensor whose data lie outside the graph file.

    Attributes:
        tensor: its name, "" when it has none.
        location: file name as written in the graph.
        offset: first byte in that file.
        length: bytes, None when the graph does not say.
    """

    tensor: str
    location: str
    offset: int
    length: int | None


class _MalformedError(ValueError):
    """The bytes are no protobuf message of this kind."""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _MalformedError(f"broken number at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int, int, memoryview]]:
    """(field number, wire type, varint value, bytes value) of a serialised message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        if key >> 32:
            raise _MalformedError(f"field key of more than 32 bits before byte {at}")
        wire, value = key & 7, 0
        if wire == _VARINT:
            value, end = _varint(data, at)
        elif wire == _BYTES:
            size, at = _varint(data, at)
            end = at + size
        elif wire in {_FIXED64, _FIXED32}:
            end = at + (8 if wire == _FIXED64 else 4)
        else:
            raise _MalformedError(f"wire type {wire} at byte {at}")
        if end > len(data):
            raise _MalformedError(f"a field of {end - at} bytes where {len(data) - at} are left")
        yield key >> 3, wire, value, data[at:end]
        at = end


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "backslashreplace")


def _number(entries: dict[str, str], key: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise _MalformedError(f"external data '{key}' must be a whole number, found {text!r}")
    return int(text)


def _entry(data: memoryview) -> tuple[str, str]:
    parts = {number: _text(value) for number, wire, _, value in _fields(data) if wire == _BYTES}
    return parts.get(1, ""), parts.get(2, "")


def _tensor(data: memoryview) -> ExternalTensor | None:
    """The external reference of a TensorProto, None when its data are inside."""
    name, external, entries = "", False, dict[str, str]()
    for number, wire, value, content in _fields(data):
        if (number, wire) == (8, _BYTES):
            name = _text(content)
        elif (number, wire) == (14, _VARINT):
            external = value == _EXTERNAL
        elif (number, wire) == (13, _BYTES):
            key, text = _entry(content)
            if key in entries or key not in _ALLOWED_KEYS:
                raise _MalformedError(f"tensor {name!r} has an unexpected external data entry {key!r}")
            entries[key] = text
    if not external and not entries:
        return None
    if "location" not in entries:
        raise _MalformedError(f"external tensor {name!r} names no location")
    return ExternalTensor(
        name, entries["location"], _number(entries, "offset") or 0, _number(entries, "length")
    )


def _walk(kind: str, data: memoryview, depth: int) -> Iterator[ExternalTensor]:
    if depth > MAX_DEPTH:
        raise _MalformedError(f"messages nested deeper than {MAX_DEPTH}")
    if kind == "Tensor":
        found = _tensor(data)
        if found is not None:
            yield found
        return
    children = _CHILDREN[kind]
    for number, wire, _, content in _fields(data):
        if kind == "Node" and (number, wire) == (4, _BYTES) and bytes(content) == b"EPContext":
            raise _MalformedError("it holds an EPContext node, which makes a provider load another file")
        if wire == _BYTES and number in children:
            yield from _walk(children[number], content, depth + 1)


def external_tensors(graph: bytes, where: object) -> list[ExternalTensor]:
    """Every external-data reference of a serialised ONNX model, nested subgraphs included.

    Args:
        graph: the bytes of the .onnx file.
        where: its name, for errors.

    Raises:
        BundleError: the bytes are no ONNX model (ONNX Runtime's own flat format is refused too), or an
            entry is malformed.
    """
    if graph[4:8] == b"ORTM":
        raise BundleError("expected an ONNX graph, found ONNX Runtime's own format", where=where)
    try:
        return list(_walk("Model", memoryview(graph), 0))
    except _MalformedError as error:
        raise BundleError(f"not a usable ONNX graph: {error}", where=where) from error


def check_external_data(graph: bytes, where: object, files: dict[str, int]) -> None:
    """Refuse a graph that would open any file but the given ones, or read beyond their end.

    Args:
        graph: the bytes of the .onnx file.
        where: its name, for errors.
        files: plain file name -> size in bytes.

    Raises:
        BundleError: a reference leads elsewhere.
    """
    for tensor in external_tensors(graph, where):
        if tensor.location not in files:
            expected = " or ".join(sorted(files)) or "no external file"
            raise BundleError(
                f"tensor {tensor.tensor!r} keeps its data in {tensor.location!r}, expected {expected}",
                where=where,
                remedy="do not use this bundle; export it again",
            )
        end, size = tensor.offset + (tensor.length or 0), files[tensor.location]
        if end > size:
            raise BundleError(
                f"tensor {tensor.tensor!r} ends at byte {end} of {tensor.location!r}, which has {size}",
                where=where,
            )
