"""Rules that every graph must keep, so that ONNX Runtime and TensorRT take it; each names the node."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from foundry_edge_export.form import check_versions
from foundry_edge_runtime.errors import BackendError

DATA_DEPENDENT = frozenset(
    {"Loop", "If", "Scan", "NonZero", "Unique", "Compress", "NonMaxSuppression", "Where"}
)
SCATTERS = frozenset({"ScatterND", "ScatterElements", "TopK"})
_PAIR = frozenset({"QuantizeLinear", "DequantizeLinear"})


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
        if node.domain not in {"", "ai.onnx"}:
            yield f"node {node.name}: operator {node.op_type} of domain {node.domain!r}, expected plain ONNX"
        if node.op_type in DATA_DEPENDENT:
            yield f"node {node.name}: {node.op_type} makes shapes or control depend on data"
        if node.op_type in SCATTERS:
            yield f"node {node.name}: {node.op_type} is not taken by every compiler"
        if node.op_type == "Reshape" and casts.get(node.input[1], node.input[1]) not in constants:
            yield f"node {node.name}: the shape is computed, expected a constant"
        if node.op_type in _PAIR:
            yield from _pair_findings(node, constants)


def _pair_findings(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> Iterator[str]:
    scale = constants.get(node.input[1])
    if scale is None:
        yield f"node {node.name}: the scale is computed, expected a constant"
    elif not np.all(numpy_helper.to_array(scale) > 0):
        yield f"node {node.name}: a scale is not positive"
    zero = constants.get(node.input[2]) if len(node.input) > 2 else None
    if zero is None:
        yield f"node {node.name}: no constant zero-point, expected INT8 zeros"
    elif zero.data_type != TensorProto.INT8 or np.any(numpy_helper.to_array(zero)):
        yield f"node {node.name}: expected INT8 zero-points 0"
