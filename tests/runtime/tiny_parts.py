"""A tiny real head for parts beside the tiny bundle: halves along z for chairs, along x for lamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.runtime.tiny_bundle import GROUPS, WIDTH, file_ref, read_manifest, write_manifest

CATEGORIES = (
    {"name": "Chair", "label": "chair", "parts": (0, 1), "names": ("lower", "upper")},
    {"name": "DeskLamp", "label": "lamp", "parts": (2, 3), "names": ("left", "right")},
    {"name": "Robot", "label": None, "parts": (0, 3), "names": ("foot", "right \u00e4rm")},
)
AXES = np.array([[0, 0, -1, 1], [0, 0, 0, 0], [-1, 1, 0, 0]], np.float32)
"""Logits of the four parts are -z, z, -x and x."""
PARITY = {"reference": "torch", "max_abs": 0.0, "cosine_mean": 1, "cosine_worst": 1, "samples": 1}


def add_parts(folder: Path, **changes: Any) -> Path:
    """Give a tiny bundle a head for parts; ``changes`` go into its section of the manifest."""
    (folder / "parts.bin").write_bytes(AXES.tobytes())
    (folder / "parts.onnx").write_bytes(part_graph("parts.bin"))
    section = {
        "graph": file_ref(folder / "parts.onnx"),
        "weights": file_ref(folder / "parts.bin"),
        "categories": CATEGORIES,
        "macs": {"cloud": 10, "point": 12},
        "parity": PARITY,
        "quality": {},
        **changes,
    }
    write_manifest(folder, {**read_manifest(folder), "parts": section})
    return folder


def part_graph(location: str, infinite: bool = False) -> bytes:
    """The serialised model; with ``infinite`` its logits are."""
    axes = TensorProto(name="axes", data_type=TensorProto.FLOAT, dims=AXES.shape)
    axes.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, "offset": "0", "length": str(AXES.nbytes)}.items():
        entry = axes.external_data.add()
        entry.key, entry.value = key, text
    zero = numpy_helper.from_array(np.zeros((), np.float32), "zero")
    last = helper.make_node("Div" if infinite else "Add", ["projected", "zero"], ["logits"])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["xyz", "axes"], ["projected"]), last],
        "tiny-parts",
        [
            _value("tokens", TensorProto.FLOAT, "B", GROUPS, WIDTH),
            _value("index", TensorProto.INT64, "B", "P", 3),
            _value("weight", TensorProto.FLOAT, "B", "P", 3),
            _value("xyz", TensorProto.FLOAT, "B", "P", 3),
            _value("category", TensorProto.INT64, "B"),
        ],
        [_value("logits", TensorProto.FLOAT, "B", "P", AXES.shape[1])],
        [axes, zero],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def _value(name: str, kind: int, *shape: str | int) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)
