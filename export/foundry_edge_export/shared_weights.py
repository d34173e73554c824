"""One weights file for all graphs of a precision; the same bytes are stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import onnx
from onnx import TensorProto, numpy_helper

from foundry_edge_runtime.bundle.external_data import check_external_data
from foundry_edge_runtime.errors import BundleError

LEAST_BYTES = 256
ALIGNMENT = 64
_OUTSIDE = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8}


class WeightsPool:
    """Tensors by content: the same bytes get the same place, whoever adds them.

    Places follow the order in which tensors are first added, so the same graphs in the same order give
    the same file.
    """

    def __init__(self) -> None:
        self._places: dict[bytes, tuple[int, int]] = {}
        self._content = bytearray()

    def add(self, data: bytes) -> tuple[int, int]:
        """Offset and length of ``data`` in the file."""
        key = hashlib.sha256(data).digest()
        if key not in self._places:
            self._content.extend(b"\0" * (-len(self._content) % ALIGNMENT))
            self._places[key] = (len(self._content), len(data))
            self._content.extend(data)
        return self._places[key]

    def content(self) -> bytes:
        """The whole file."""
        return bytes(self._content)


def share(models: Sequence[onnx.ModelProto]) -> tuple[WeightsPool, list[list[tuple[int, int] | None]]]:
    """Lay out the large tensors of several models in one file.

    Returns:
        The pool, and for each model the place of each of its initializers (None: stays in the graph).
    """
    pool = WeightsPool()
    places = [[_place(pool, tensor) for tensor in model.graph.initializer] for model in models]
    return pool, places


def _place(pool: WeightsPool, tensor: TensorProto) -> tuple[int, int] | None:
    outside = tensor.data_type in _OUTSIDE and len(tensor.raw_data) >= LEAST_BYTES
    return pool.add(tensor.raw_data) if outside else None


def detach(model: onnx.ModelProto, places: Sequence[tuple[int, int] | None], location: str) -> bytes:
    """The serialised graph whose placed tensors refer to the file ``location``."""
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor, place in zip(light.graph.initializer, places, strict=True):
        if place is None:
            continue
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": location, "offset": str(place[0]), "length": str(place[1])}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    content: bytes = light.SerializeToString(deterministic=True)
    return content


def attach(graph: bytes, weights: bytes, where: object) -> onnx.ModelProto:
    """The inverse of `detach`: a self-contained model.

    Args:
        graph: a serialised graph whose external data all lie in one file.
        weights: that file's content.
        where: name of the graph, for errors.

    Raises:
        BundleError: the graph refers to anything but that file, or beyond its end.
    """
    model = onnx.load_model_from_string(graph)
    locations = {_entries(t).get("location", "") for t in model.graph.initializer if t.external_data}
    if len(locations) > 1:
        raise BundleError(f"uses {len(locations)} weights files, expected one", where=where)
    check_external_data(graph, where, dict.fromkeys(locations, len(weights)))
    for tensor in model.graph.initializer:
        if tensor.external_data:
            entries = _entries(tensor)
            start = int(entries.get("offset", 0))
            tensor.raw_data = weights[start : start + int(entries["length"])]
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            numpy_helper.to_array(tensor)  # refuses data whose length is not that of its shape
    return model


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}
