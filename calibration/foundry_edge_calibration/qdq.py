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
    for activation in dict.fromkeys(site.activation for site in sites):
        _add_scale(graph, activation, ranges[activation])
    for weight in dict.fromkeys(site.weight for site in sites):
        _quantise_weight(graph, weights[weight])
    _rewire(graph, {site.node: site for site in sites})
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return _with_graph(model, graph)


def _add_scale(graph: onnx.GraphProto, activation: str, threshold: float) -> None:
    scale = np.maximum(np.float32(threshold) / np.float32(LEVELS), _TINY)
    _constant(graph, f"{activation}.scale", np.asarray(scale, dtype=np.float32))
    _constant(graph, f"{activation}.zero", np.asarray(0, dtype=np.int8))


def _quantise_weight(graph: onnx.GraphProto, tensor: TensorProto) -> None:
    values, scale = quantize_weight(numpy_helper.to_array(tensor))
    _constant(graph, f"{tensor.name}.int8", values)
    _constant(graph, f"{tensor.name}.scale", scale)
    _constant(graph, f"{tensor.name}.zero", np.zeros(len(scale), dtype=np.int8))


def _rewire(graph: onnx.GraphProto, sites: dict[str, Site]) -> None:
    """Round what each site reads: one Quantize per activation, a Dequantize of its own per site.

    A Dequantize with several readers would keep ONNX Runtime from fusing it into each of them.
    """
    nodes: list[onnx.NodeProto] = []
    rounded: set[str] = set()
    for node in graph.node:
        site = sites.get(node.name)
        if site is not None:
            if site.activation not in rounded:
                nodes.append(_quantize(site.activation))
                rounded.add(site.activation)
            nodes += [
                _dequantize(site.activation, f"{site.module}.input"),
                _dequantize(site.weight, f"{site.module}.weight", axis=1),
            ]
            node.input[0], node.input[1] = f"{site.module}.input.rounded", f"{site.module}.weight.rounded"
        nodes.append(node)
    copies = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _quantize(name: str) -> onnx.NodeProto:
    inputs = [name, f"{name}.scale", f"{name}.zero"]
    return helper.make_node("QuantizeLinear", inputs, [f"{name}.int8"], name=f"{name}/Quantize")


def _dequantize(name: str, result: str, axis: int | None = None) -> onnx.NodeProto:
    inputs = [f"{name}.int8", f"{name}.scale", f"{name}.zero"]
    node = helper.make_node("DequantizeLinear", inputs, [f"{result}.rounded"], name=f"{result}/Dequantize")
    if axis is not None:
        node.attribute.append(helper.make_attribute("axis", axis))
    return node


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
