"""Static INT8: explicit QuantizeLinear/DequantizeLinear pairs, symmetric, weights per output channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from foundry_edge_calibration.placement import Site

LEVELS = 127
_TINY = np.float32(1e-12)


def quantize_weight(weight: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """INT8 form (in, out) of a weight (in, out), and its scale (out,): weight ~ int8 * scale."""
    scale = np.maximum(np.abs(weight).max(axis=0) / np.float32(LEVELS), _TINY).astype(np.float32)
    return np.clip(np.rint(weight / scale), -LEVELS, LEVELS).astype(np.int8), scale


def insert_qdq(model: onnx.ModelProto, sites: Sequence[Site], ranges: Mapping[str, float]) -> onnx.ModelProto:
    """A copy of ``model`` whose sites compute in INT8.

    Args:
        model: FP32, data inside.
        sites: maps to quantise.
        ranges: activation tensor -> clipping threshold; scale = threshold / 127, zero-point 0.

    Biases stay float; a map's output is not quantised.
    """
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    quantised: dict[str, list[onnx.NodeProto]] = {}
    for site in sites:
        if site.activation not in quantised:
            quantised[site.activation] = _activation_pair(graph, site.activation, ranges[site.activation])
        _replace_weight(graph, weights[site.weight], site.weight)
    _rewire(graph, {site.node for site in sites}, quantised)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return _with_graph(model, graph)


def _activation_pair(graph: onnx.GraphProto, name: str, threshold: float) -> list[onnx.NodeProto]:
    scale = np.maximum(np.float32(threshold) / np.float32(LEVELS), _TINY)
    _constant(graph, f"{name}.scale", np.asarray(scale, dtype=np.float32))
    _constant(graph, f"{name}.zero", np.asarray(0, dtype=np.int8))
    parameters = [f"{name}.scale", f"{name}.zero"]
    return [
        helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}.int8"], name=f"{name}/Quantize"),
        helper.make_node(
            "DequantizeLinear", [f"{name}.int8", *parameters], [f"{name}.rounded"], name=f"{name}/Dequantize"
        ),
    ]


def _replace_weight(graph: onnx.GraphProto, tensor: TensorProto, name: str) -> None:
    values, scale = quantize_weight(numpy_helper.to_array(tensor))
    _constant(graph, f"{name}.int8", values)
    _constant(graph, f"{name}.scale", scale)
    _constant(graph, f"{name}.zero", np.zeros(len(scale), dtype=np.int8))


def _rewire(graph: onnx.GraphProto, chosen: set[str], pairs: dict[str, list[onnx.NodeProto]]) -> None:
    """Put each pair before the first map that reads it; chosen maps read rounded tensors."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name in chosen:
            activation, weight = node.input
            nodes += pairs.pop(activation, [])
            inputs = [f"{weight}.int8", f"{weight}.scale", f"{weight}.zero"]
            nodes.append(
                helper.make_node(
                    "DequantizeLinear", inputs, [f"{weight}.rounded"], name=f"{weight}/Dequantize", axis=1
                )
            )
            node.input[0], node.input[1] = f"{activation}.rounded", f"{weight}.rounded"
        nodes.append(node)
    copies = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _constant(graph: onnx.GraphProto, name: str, value: npt.NDArray[np.generic]) -> None:
    graph.initializer.append(numpy_helper.from_array(value, name))


def _with_graph(model: onnx.ModelProto, graph: onnx.GraphProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.CopyFrom(graph)
    return changed
