"""Half precision where it is safe, and only there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from foundry_edge.load import load_student
from foundry_edge_calibration.engine import open_session
from foundry_edge_export.fp16 import to_fp16
from foundry_edge_export.graph import trace
from foundry_edge_export.rounding import with_rounding
from foundry_edge_runtime.errors import BackendError

Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def half(models: Path) -> onnx.ModelProto:
    return to_fp16(trace(load_student(models / "student"), 2))


def _kinds(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    return kinds | {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_types_are_where_they_should_be(half: onnx.ModelProto) -> None:
    onnx.checker.check_model(half, full_check=True)
    kinds = _kinds(half)
    for node in half.graph.node:
        floats = {
            kinds[name] for name in node.input if kinds[name] in {TensorProto.FLOAT, TensorProto.FLOAT16}
        }
        module, _, operator = node.name.rpartition("/")
        if operator.startswith("Cast"):
            continue
        if module.startswith(("dso", "head")) or operator in {"LayerNormalization", "Softmax", "ArgMax"}:
            assert TensorProto.FLOAT16 not in floats, node.name
        elif operator in {"MatMul", "Gelu"}:
            assert floats == {TensorProto.FLOAT16}, node.name
    assert all(kinds[v.name] == TensorProto.FLOAT for v in (*half.graph.input, *half.graph.output))


def test_no_tensor_is_cast_twice_or_back_and_forth(half: onnx.ModelProto) -> None:
    casts = [node for node in half.graph.node if node.op_type == "Cast"]
    sources = [(node.input[0], node.attribute[0].i) for node in casts]
    assert len(set(sources)) == len(sources)
    kinds, floating = _kinds(half), {TensorProto.FLOAT, TensorProto.FLOAT16}
    made = {node.output[0] for node in casts if kinds[node.input[0]] in floating}
    round_trips = [node.name for node in casts if node.input[0] in made]
    assert not round_trips


def _chain() -> tuple[onnx.ModelProto, dict[str, Array]]:
    """y = (relu(x w + b) w + x) b, all of it in half but x and y."""
    rng = np.random.default_rng(0)
    constants = {
        "w": (rng.normal(size=(32, 32)) / 6).astype(np.float16),
        "b": rng.normal(size=32).astype(np.float16),
    }
    steps = [
        ("Cast", ["x"], "h"),
        ("MatMul", ["h", "w"], "p"),
        ("Add", ["p", "b"], "q"),
        ("Relu", ["q"], "r"),
        ("MatMul", ["r", "w"], "s"),
        ("Add", ["s", "h"], "t"),
        ("Mul", ["t", "b"], "u"),
        ("Cast", ["u"], "y"),
    ]
    nodes = [helper.make_node(kind, read, [made], name=made) for kind, read, made in steps]
    for node, kind in ((nodes[0], TensorProto.FLOAT16), (nodes[-1], TensorProto.FLOAT)):
        node.attribute.append(helper.make_attribute("to", kind))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 32]) for name in ("x", "y")]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    return model, {name: value.astype(np.float32) for name, value in constants.items()}


def test_every_rounding_of_half_counts() -> None:
    """ONNX Runtime alone computes half precision in float32 throughout, which would flatter the gate."""
    model, constants = _chain()
    x = np.random.default_rng(1).normal(size=(50, 32)).astype(np.float32)

    def half(value: Array) -> Array:
        return np.asarray(value, dtype=np.float16).astype(np.float32)

    w, b, h = constants["w"], constants["b"], half(x)
    inner = np.maximum(half(half(h @ w) + b), 0)
    expected = half(half(half(inner @ w) + h) * b)
    exact = (np.maximum(h @ w + b, 0) @ w + h) * b
    (found,) = open_session(with_rounding(model)).run(None, {"x": x})
    (plain,) = open_session(model).run(None, {"x": x})
    assert np.abs(found - expected).mean() < 0.05 * np.abs(exact - expected).mean()
    assert np.abs(plain - expected).mean() > 0.5 * np.abs(exact - expected).mean()


def test_a_constant_that_does_not_fit_is_refused() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B"])
    node = helper.make_node("Mul", ["x", "large"], ["y"], name="blocks.0/Mul")
    constant = numpy_helper.from_array(np.array([1e5], np.float32), "large")
    graph = helper.make_graph([node], "g", [value], [result], [constant])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(BackendError, match="constant large does not fit into half precision"):
        to_fp16(model)
