"""Student to ONNX: traced, cleaned of everything that says where it was made, named after its modules."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from foundry_edge.models.student import Student
from foundry_edge_export.form import IR, OPSET, check_versions
from foundry_edge_export.inference import InferenceStudent
from foundry_edge_runtime.backends.base import INPUTS, LOGITS, OUTPUTS
from foundry_edge_runtime.errors import BackendError

_SCOPES = "pkg.torch.onnx.name_scopes"


def trace(student: Student, count: int, bypassed: int = 0) -> onnx.ModelProto:
    """The FP32 graph of a student with ``count`` SuperTokens and ``bypassed`` tokens, weights inside.

    Inputs ``groups`` (B, c, K, 3) and ``centers`` (B, c, 3), outputs ``tokens`` (B, c, d), ``global``
    (B, 2d) and, with a head, ``logits`` (B, labels); float32, B dynamic. Opset 20, IR 10.

    Raises:
        InputError: the student has no form for it, see `InferenceStudent`.
        BackendError: the installed exporter wrote another opset or IR version.
    """
    spec = student.config.teacher.preprocessing
    with one_thread():
        module = InferenceStudent(student, count, bypassed=bypassed)
    example = (torch.zeros(2, spec.groups, spec.group_size, 3), torch.zeros(2, spec.groups, 3))
    batch = {0: torch.export.Dim("batch", min=1)}
    outputs = OUTPUTS if module.head is None else (*OUTPUTS, LOGITS)
    return traced(module, example, INPUTS, outputs, (batch, batch))


def traced(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_shapes: tuple[dict[int, Any], ...],
) -> onnx.ModelProto:
    """The graph of a module, cleaned; opset 20, IR 10.

    Args:
        module: in its inference form.
        example: one tensor for each input.
        inputs, outputs: their names.
        dynamic_shapes: of each input, axis -> dimension that stays open.

    Raises:
        BackendError: the installed exporter wrote another opset or IR version.
    """
    with _quiet():
        program = torch.onnx.export(
            module,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=dynamic_shapes,
            verbose=False,
        )
    if program is None:
        raise BackendError(
            "torch.onnx.export returned nothing", remedy="install the pinned torch (constraints.txt)"
        )
    return _clean(program.model_proto)


def _clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """A new model without traces (source paths, doc strings); nodes are named ``module/Operator``."""
    check_versions(model, "torch.onnx.export")
    seen: Counter[str] = Counter()
    graph = onnx.GraphProto(name="student")
    for node in model.graph.node:
        name = f"{_module(node)}/{node.op_type}".lstrip("/")
        seen[name] += 1
        plain = onnx.NodeProto(
            op_type=node.op_type,
            input=node.input,
            output=node.output,
            attribute=node.attribute,
            name=name if seen[name] == 1 else f"{name}.{seen[name]}",
        )
        graph.node.append(plain)
    graph.initializer.extend(_plain(tensor) for tensor in model.graph.initializer)
    for source, target in ((model.graph.input, graph.input), (model.graph.output, graph.output)):
        target.extend(onnx.ValueInfoProto(name=value.name, type=value.type) for value in source)
    return onnx.helper.make_model(
        graph,
        ir_version=IR,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        producer_name="foundry-edge",
    )


def _module(node: onnx.NodeProto) -> str:
    """The module a node came from, e.g. ``blocks.3.attn.qkv``; its own name when the exporter made it."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            scopes = [part.strip(" '[]\"") for part in entry.value.split(",")]
            return scopes[-2] if len(scopes) > 1 else ""
    return node.name


def _plain(tensor: onnx.TensorProto) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Fold constants the same way whatever the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notices: missing torchvision, deprecations inside torch itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
