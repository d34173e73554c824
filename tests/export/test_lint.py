"""The lint finds each broken rule and names the node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from foundry_edge_export.lint import findings, lint
from foundry_edge_runtime.errors import BackendError


def _model(
    node: onnx.NodeProto, **constants: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B"])
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "g", [value], [value], initializers)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def _quantize(zero: object, scale: float = 0.1) -> onnx.ModelProto:
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], name="block/Quantize")
    return _model(node, s=np.asarray(scale, np.float32), z=np.asarray(zero))


def _pairs(left: type[np.floating[Any]], right: type[np.floating[Any]]) -> onnx.ModelProto:
    """One node that reads two pairs with scales of these types."""
    names, kinds = ("a", "b"), (left, right)
    nodes = [
        helper.make_node("DequantizeLinear", ["x", f"{n}_s", f"{n}_z"], [n], name=f"{n}/Dequantize")
        for n in names
    ]
    nodes.append(helper.make_node("MatMul", ["a", "b"], ["y"], name="blocks.0/MatMul"))
    constants = {f"{n}_s": np.asarray(0.1, kind) for n, kind in zip(names, kinds, strict=True)}
    model = _model(nodes[0], **constants, **{f"{n}_z": np.asarray(0, np.int8) for n in names})
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (
            _model(helper.make_node("NonZero", ["x"], ["y"], name="m/NonZero")),
            "m/NonZero: NonZero makes shapes",
        ),
        (
            _model(helper.make_node("TopK", ["x", "k"], ["y", "i"], name="m/TopK")),
            "m/TopK: TopK's K is computed",
        ),
        (
            _model(helper.make_node("Attention", ["x"], ["y"], name="a", domain="com.microsoft")),
            "node a: operator",
        ),
        (
            _model(helper.make_node("Reshape", ["x", "shape"], ["y"], name="r")),
            "node r: the shape is computed",
        ),
        (
            _model(
                helper.make_node("TopK", ["x", "k"], ["y", "i"], name="gate/TopK"),
                k=np.array([4000], np.int64),
            ),
            "gate/TopK: TopK of 4000, expected at most 3840",
        ),
        (_pairs(np.float32, np.float16), "blocks.0/MatMul: reads pairs of different types: FLOAT, FLOAT16"),
        (_quantize(np.int8(1)), "block/Quantize: expected INT8 zero-points 0"),
        (_quantize(np.uint8(0)), "block/Quantize: expected INT8 zero-points 0"),
        (_quantize(np.int8(0), scale=0.0), "block/Quantize: a scale is not positive"),
        (
            _model(helper.make_node("QuantizeLinear", ["x", "s"], ["y"], name="q")),
            "node q: the scale is computed",
        ),
    ],
)
def test_names_the_node_and_the_rule(model: onnx.ModelProto, problem: str) -> None:
    assert any(problem in finding for finding in findings(model))
    with pytest.raises(BackendError, match="the graph breaks a rule"):
        lint(model, "graph.onnx")


def test_a_good_pair_passes() -> None:
    assert not list(findings(_quantize(np.int8(0))))
    assert not list(findings(_pairs(np.float16, np.float16)))


def test_a_small_top_k_passes() -> None:
    node = helper.make_node("TopK", ["x", "k"], ["y", "i"], name="gate/TopK")
    assert not list(findings(_model(node, k=np.array([8], np.int64))))
