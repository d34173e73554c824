"""Static INT8: explicit QuantizeLinear/DequantizeLinear pairs, symmetric, weights per output channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from foundry_edge_calibration.placement import Site

LEVELS = 127
_TINY = np.float32(1e-12)
_TINY_HALF = np.float32(2**-20)


def quantize_weight(
    weight: npt.NDArray[np.float32], half_scales: bool = False
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """INT8 form (in, out) of a weight (in, out), and its scale (out,): weight ~ int8 * scale."""
    scale = np.maximum(np.abs(weight).max(axis=0) / np.float32(LEVELS), _TINY).astype(np.float32)
    if half_scales:
        scale = _exact_in_half(scale)
    return np.clip(np.rint(weight / scale), -LEVELS, LEVELS).astype(np.int8), scale


def insert_qdq(
    model: onnx.ModelProto, sites: Sequence[Site], ranges: Mapping[str, float], half_scales: bool = False
) -> onnx.ModelProto:
    """A copy of ``model`` whose sites compute in INT8.

    Args:
        model: FP32, data inside.
        sites: maps to quantise.
        ranges: activation tensor -> clipping threshold; scale = threshold / 127, zero-point 0.
        half_scales: take scales that half precision holds exactly, for a graph that will compute in it.

    Biases stay float; a map's output is not quantised.
    """
    graph = onnx.GraphProto()
    graph.CopyFrom(model.graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers: Counter[str] = Counter()
    for site in sites:
        scale = _scale(ranges[site.activation], readers[site.activation])
        if half_scales:
            scale = _exact_in_half(scale)
        readers[site.activation] += 1
        _constant(graph, f"{site.module}.input.scale", scale)
        _constant(graph, f"{site.module}.input.zero", np.asarray(0, dtype=np.int8))
    for weight in dict.fromkeys(site.weight for site in sites):
        _quantise_weight(graph, weights[weight], half_scales)
    _rewire(graph, {site.node: site for site in sites})
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return _with_graph(model, graph)


def _scale(threshold: float, reader: int) -> npt.NDArray[np.float32]:
    """The step of an activation; each further reader's is one unit in the last place larger.

    ONNX Runtime merges identical Quantize nodes and then fuses none of the maps that read the merged one.
    """
    scale = np.maximum(np.float32(threshold) / np.float32(LEVELS), _TINY)
    for _ in range(reader):
        scale = np.nextafter(scale, np.float32(np.inf))
    return np.asarray(scale, dtype=np.float32)


def _exact_in_half(scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scales rounded up to half precision, so that nothing more is clipped; still stored as float32."""
    half = np.maximum(scale, _TINY_HALF).astype(np.float16)
    rounded = np.where(half < scale, np.nextafter(half, np.float16(np.inf)), half)
    return np.asarray(rounded, dtype=np.float32)


def _quantise_weight(graph: onnx.GraphProto, tensor: TensorProto, half_scales: bool) -> None:
    values, scale = quantize_weight(numpy_helper.to_array(tensor), half_scales)
    _constant(graph, f"{tensor.name}.int8", values)
    _constant(graph, f"{tensor.name}.scale", scale)
    _constant(graph, f"{tensor.name}.zero", np.zeros(len(scale), dtype=np.int8))


def _rewire(graph: onnx.GraphProto, sites: dict[str, Site]) -> None:
    """Put a Q/DQ pair before each site, and a DQ on its weight."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        site = sites.get(node.name)
        if site is not None:
            nodes += _input_pair(site)
            nodes.append(_weight_pair(site))
            node.input[0], node.input[1] = f"{site.module}.input.rounded", f"{site.module}.weight.rounded"
        nodes.append(node)
    copies = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _input_pair(site: Site) -> list[onnx.NodeProto]:
    name = f"{site.module}.input"
    parameters = [f"{name}.scale", f"{name}.zero"]
    return [
        helper.make_node(
            "QuantizeLinear", [site.activation, *parameters], [f"{name}.int8"], name=f"{name}/Quantize"
        ),
        helper.make_node(
            "DequantizeLinear", [f"{name}.int8", *parameters], [f"{name}.rounded"], name=f"{name}/Dequantize"
        ),
    ]


def _weight_pair(site: Site) -> onnx.NodeProto:
    inputs = [f"{site.weight}.{part}" for part in ("int8", "scale", "zero")]
    result = f"{site.module}.weight"
    return helper.make_node(
        "DequantizeLinear", inputs, [f"{result}.rounded"], name=f"{result}/Dequantize", axis=1
    )


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
