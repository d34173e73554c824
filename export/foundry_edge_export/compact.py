"""Smaller files without a changed result: weights that half precision holds exactly are stored so."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

LEAST_BYTES = 1024


def exact_in_half(values: npt.NDArray[np.float32]) -> bool:
    """Whether a round trip through float16 changes no bit."""
    with np.errstate(over="ignore"):
        back = values.astype(np.float16).astype(np.float32)
    return np.array_equal(back.view(np.uint32), np.ascontiguousarray(values).view(np.uint32))


def store_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large float32 constants, where exact, are float16 and a Cast.

    ONNX Runtime folds the Cast when it loads the graph, so nothing is computed twice and the results are
    the same to the bit. Constants that half precision does not hold exactly stay float32.
    """
    compact = onnx.ModelProto()
    compact.CopyFrom(model)
    graph = compact.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.nbytes < LEAST_BYTES or not exact_in_half(values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.stored"))
        casts.append(
            helper.make_node("Cast", [f"{name}.stored"], [name], name=f"{name}/Cast", to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del compact.graph.node[:]
    compact.graph.node.extend(nodes)
    return compact
