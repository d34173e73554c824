"""What a graph in half precision computes, on a runtime that has no half-precision kernels.

ONNX Runtime's CPU provider widens such a graph to float32 and drops the Casts in between, even with all
optimisations off, so that its results hide the rounding. Here every result in half becomes a float32 result
with an explicit Cast to half and back, which is kept: products accumulate in float32 and are rounded when
they are stored, as on tensor cores.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

_MOVING = frozenset(
    {
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Identity",
        "Slice",
        "Split",
        "Gather",
        "Concat",
    }
    | {"Expand", "Relu", "ReduceMax", "Max"}
)
"""Operators whose results are among their inputs, or 0, and need no rounding."""


def with_rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 graph that rounds what ``model`` holds in half; other types are as they were.

    Args:
        model: weights inside.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output)}
    halves = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT16}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.initializer.extend(_widened(tensor) for tensor in model.graph.initializer)
    for node in model.graph.node:
        result.graph.node.extend(_rounded(node, halves))
    return result


def _widened(tensor: TensorProto) -> TensorProto:
    if tensor.data_type != TensorProto.FLOAT16:
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name)


def _rounded(node: onnx.NodeProto, halves: set[str]) -> list[onnx.NodeProto]:
    """The node in float32, followed by Casts to half and back where it makes something in half."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    made = [name for name in node.output if name in halves]
    if node.op_type == "Cast" and made:
        copy.attribute[0].i = TensorProto.FLOAT
    if not made or node.op_type in _MOVING:
        return [copy]
    nodes = [copy]
    for i, name in enumerate(node.output):
        if name in halves:
            copy.output[i] = f"{name}.exact"
            nodes.append(_cast(f"{name}.exact", f"{name}.rounded", TensorProto.FLOAT16))
            nodes.append(_cast(f"{name}.rounded", name, TensorProto.FLOAT))
    return nodes


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/Round", to=kind)
