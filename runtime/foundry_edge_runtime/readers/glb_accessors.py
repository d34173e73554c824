"""Arrays of a GLB file: accessors on views of the binary chunk (glTF 2.0, section 3.6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.readers.glb_json import Object, integer, item, objects
from foundry_edge_runtime.readers.source import ByteArray, Source

_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_COMPRESSED = ("EXT_meshopt_compression", "KHR_meshopt_compression")


@dataclass(frozen=True)
class Arrays:
    """The document and the bytes that its accessors point into."""

    source: Source
    accessors: list[Object]
    views: list[Object]
    buffers: list[Object]
    binary: ByteArray

    @classmethod
    def of(cls, source: Source, document: Object, binary: ByteArray) -> Arrays:
        """The arrays of a document."""
        lists = [objects(source, document, key) for key in ("accessors", "bufferViews", "buffers")]
        return cls(source, lists[0], lists[1], lists[2], binary)

    def positions(self, accessor: int) -> npt.NDArray[np.float64]:
        """(N, 3) float64; integers are scaled when the accessor says normalized."""
        values, entry = self._values(accessor, "VEC3", 3)
        points = values.astype(np.float64)
        if values.dtype.kind != "f" and entry.get("normalized") is True:
            points = np.maximum(points / np.iinfo(values.dtype).max, -1.0)  # type: ignore[type-var]
        return points

    def indices(self, accessor: int) -> npt.NDArray[np.int64]:
        """(N,) vertex indices."""
        values, _ = self._values(accessor, "SCALAR", 1)
        if values.dtype.kind != "u":
            raise self.source.error("glTF indices: expected an unsigned integer component type")
        return values[:, 0].astype(np.int64)

    def _values(self, accessor: int, kind: str, width: int) -> tuple[npt.NDArray[np.generic], Object]:
        """(N, width) view of the binary chunk, bounds checked before it is made (P5)."""
        entry = item(self.source, self.accessors, accessor, "accessor")
        if entry.get("type") != kind or "sparse" in entry or "bufferView" not in entry:
            raise self.source.error(f"glTF accessor {accessor}: expected a dense {kind} with a bufferView")
        code = integer(self.source, entry, "componentType")
        if code not in _COMPONENTS:
            raise self.source.error(f"glTF accessor {accessor}: unknown componentType {code}")
        dtype = np.dtype(_COMPONENTS[code])
        view, stride = self._view(integer(self.source, entry, "bufferView"))
        start, count = integer(self.source, entry, "byteOffset", 0), integer(self.source, entry, "count")
        stride = stride or dtype.itemsize * width
        end = start + stride * max(0, count - 1) + dtype.itemsize * width
        if count and end > len(view):
            raise self.source.error(
                f"truncated: glTF accessor {accessor} of {count} elements ends at byte {end}, "
                f"its bufferView has a length of {len(view)}"
            )
        shape, strides = (count, width), (stride, dtype.itemsize)
        if count == 0:
            return np.empty(shape, dtype), entry
        return np.ndarray(shape, dtype, view.data, start, strides), entry

    def _view(self, index: int) -> tuple[ByteArray, int]:
        view = item(self.source, self.views, index, "bufferView")
        extensions = view.get("extensions")
        if isinstance(extensions, dict) and any(name in extensions for name in _COMPRESSED):
            raise self.source.error("compressed glTF buffers are not supported", "export without compression")
        number = integer(self.source, view, "buffer")
        buffer = item(self.source, self.buffers, number, "buffer")
        if number != 0 or "uri" in buffer:
            raise self.source.error(
                "the glTF names an external buffer; no other file is opened", "export as one GLB"
            )
        start, length = integer(self.source, view, "byteOffset", 0), integer(self.source, view, "byteLength")
        if start + length > len(self.binary):
            raise self.source.error(
                f"truncated: glTF bufferView {index} ends at byte {start + length}, "
                f"the binary chunk has a length of {len(self.binary)}"
            )
        return self.binary[start : start + length], integer(self.source, view, "byteStride", 0)
