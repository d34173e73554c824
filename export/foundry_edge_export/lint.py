"""Rules that every graph must keep, so that ONNX Runtime and TensorRT take it; each names the node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from foundry_edge_export.form import check_versions
from foundry_edge_runtime.errors import BackendError

DATA_DEPENDENT = frozenset({"Loop", "If", "Scan", "NonZero", "Unique", "Compress", "NonMaxSuppression"})
SCATTERS = frozenset({"ScatterND", "ScatterElements"})
MOST_OF_TOPK = 3840
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"

Constants = Mapping[str, TensorProto]


def lint(model: onnx.ModelProto, where: object = None) -> None:
    """Refuse a graph that breaks a rule.

    Raises:
        BackendError: opset or IR are others than 20 and 10, or a node breaks a rule; all are named.
    """
    check_versions(model, where)
    problems = list(findings(model))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise BackendError(
            f"the graph breaks a rule: {problems[0]}{more}", where=where, remedy="install the pinned versions"
        )


def findings(model: onnx.ModelProto) -> Iterator[str]:
    """Broken rules, one line each, naming node and rule."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    casts = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    for node in model.graph.node:
        for problem in _operator_findings(node, constants, casts):
            yield f"node {node.name}: {problem}"
    for node, problem in _pair_findings(model, constants):
        yield f"node {node.name}: {problem}"


def _operator_findings(node: onnx.NodeProto, constants: Constants, casts: Mapping[str, str]) -> Iterator[str]:
    if node.domain not in {"", "ai.onnx"}:
        yield f"operator {node.op_type} of domain {node.domain!r}, expected plain ONNX"
    if node.op_type in DATA_DEPENDENT:
        yield f"{node.op_type} makes shapes or control depend on data"
    if node.op_type in SCATTERS:
        yield f"{node.op_type} is not taken by every compiler"
    if node.op_type == "Reshape" and casts.get(node.input[1], node.input[1]) not in constants:
        yield "the shape is computed, expected a constant"
    if node.op_type == "TopK":
        yield from _topk_findings(node, constants)
    if node.op_type in (_QUANTIZE, _DEQUANTIZE):
        yield from _scale_findings(node, constants)


def _topk_findings(node: onnx.NodeProto, constants: Constants) -> Iterator[str]:
    count = constants.get(node.input[1])
    if count is None:
        yield "TopK's K is computed, expected a constant"
    elif int(numpy_helper.to_array(count).max()) > MOST_OF_TOPK:
        found = int(numpy_helper.to_array(count).max())
        yield f"TopK of {found}, expected at most {MOST_OF_TOPK}"


def _scale_findings(node: onnx.NodeProto, constants: Constants) -> Iterator[str]:
    scale = constants.get(node.input[1])
    if scale is None:
        yield "the scale is computed, expected a constant"
    elif not np.all(numpy_helper.to_array(scale) > 0):
        yield "a scale is not positive"
    zero = constants.get(node.input[2]) if len(node.input) > 2 else None
    if zero is None:
        yield "no constant zero-point, expected INT8 zeros"
    elif zero.data_type != TensorProto.INT8 or np.any(numpy_helper.to_array(zero)):
        yield "expected INT8 zero-points 0"


def _pair_findings(model: onnx.ModelProto, constants: Constants) -> Iterator[tuple[onnx.NodeProto, str]]:
    """A pair has one type, and so have the pairs that one node reads."""
    kinds: dict[str, int] = {}
    for node in model.graph.node:
        scale = constants.get(node.input[1]) if node.op_type in (_QUANTIZE, _DEQUANTIZE) else None
        if scale is not None:
            if kinds.get(node.input[0], scale.data_type) != scale.data_type:
                yield node, f"{_name(scale.data_type)} scale, but the pair's Quantize has another type"
            kinds[node.output[0]] = scale.data_type
            continue
        read = {kinds[name] for name in node.input if name in kinds}
        if len(read) > 1:
            yield node, f"reads pairs of different types: {', '.join(sorted(map(_name, read)))}"


def _name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind))
