"""FP16 rungs: half precision where it is safe, written into the graph as half constants and Casts.

Kept in FP32: everything of the SuperToken assignment and the gate (argmax and rank flip when their input is
rounded), the norms, Softmax, sums over tokens, the head, and the graph's inputs and outputs. A strongly typed
TensorRT network takes these types as they are. Q/DQ pairs of an INT8 graph take the precision of the map that
they stand before; their scales must then be exact in half.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from foundry_edge_runtime.errors import BackendError

FLOAT_OPERATORS = frozenset(
    {
        "LayerNormalization",
        "Softmax",
        "ReduceMean",
        "ReduceSum",
        "ReduceL2",
        "ArgMax",
        "Equal",
        "Cast",
        "Clip",
    }
)
FLOAT_MODULES = ("dso", "gate", "head")
_HALF_MAX = 65504.0


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an FP32 (or INT8) model whose safe nodes compute in half; inputs and outputs stay float32.

    Raises:
        BackendError: a constant does not fit into half precision.
    """
    converter = _Converter(onnx.shape_inference.infer_shapes(model, strict_mode=True))
    nodes = [copy for node in model.graph.node for copy in converter.convert(node)]
    nodes += converter.outputs(value.name for value in model.graph.output)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    result.graph.initializer.extend(t for t in converter.constants.values() if t.name in used)
    return result


def computes_in_half(node: onnx.NodeProto) -> bool:
    """Whether a node of an FP32 graph is safe in half precision."""
    module = node.name.rpartition("/")[0]
    return node.op_type not in FLOAT_OPERATORS and not module.startswith(FLOAT_MODULES)


class _Converter:
    """Walks the nodes in order and knows each tensor in float, in half, or both."""

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        values = (*graph.input, *graph.value_info, *graph.output)
        kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        kinds |= {name: tensor.data_type for name, tensor in self.constants.items()}
        self.floats = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT}
        self.halves: dict[str, str] = {}
        self.only_half: set[str] = set()

    def convert(self, node: onnx.NodeProto) -> Iterable[onnx.NodeProto]:
        """The node in its precision, after the Casts that it needs."""
        touches = node.input[:1] if node.op_type == "QuantizeLinear" else node.output
        half = computes_in_half(node) and any(name in self.floats for name in touches)
        casts: list[onnx.NodeProto] = []
        fetch = self._half if half else self._float
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for i, name in enumerate(node.input):
            if name in self.floats:
                copy.input[i] = fetch(name, casts)
        if half:
            for i, name in enumerate(node.output):
                if name not in self.floats:
                    continue
                copy.output[i] = self.halves[name] = f"{name}.half"
                self.only_half.add(name)
        return (*casts, copy)

    def outputs(self, names: Iterable[str]) -> list[onnx.NodeProto]:
        """Casts for the outputs that exist in half only."""
        casts: list[onnx.NodeProto] = []
        for name in names:
            self._float(name, casts)
        return casts

    def _half(self, name: str, casts: list[onnx.NodeProto]) -> str:
        if name not in self.halves:
            self.halves[name] = f"{name}.half"
            if name in self.constants:
                self.constants[f"{name}.half"] = _half_constant(self.constants[name])
            else:
                casts.append(_cast(name, f"{name}.half", TensorProto.FLOAT16))
        return self.halves[name]

    def _float(self, name: str, casts: list[onnx.NodeProto]) -> str:
        if name in self.only_half:
            casts.append(_cast(f"{name}.half", name, TensorProto.FLOAT))
            self.only_half.discard(name)
        return name


def _half_constant(tensor: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    if np.abs(values).max(initial=0.0) > _HALF_MAX:
        raise BackendError(
            f"constant {tensor.name} does not fit into half precision",
            where="--precision fp16",
            remedy="use --precision fp32 or int8",
        )
    return numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half")


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/Cast", to=kind)
