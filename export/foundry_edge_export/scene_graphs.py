"""The stages of a scene student as ONNX graphs, traced with every size that a scene decides left open."""

from __future__ import annotations

from typing import Any

import onnx
import torch
from torch import Tensor, nn

from foundry_edge.models.student import Student
from foundry_edge_export.compact import store_in_half
from foundry_edge_export.graph import one_thread, traced
from foundry_edge_export.scene_form import scene_stages
from foundry_edge_runtime.scenes.form import STAGES

_EXAMPLE = {"windows": 2, "window": 5, "run": 7, "supertokens": 2}


def scene_graphs(student: Student) -> dict[str, onnx.ModelProto]:
    """The FP32 graph of each stage, weights inside; opset 20, IR 10.

    Raises:
        InputError: the student is of a form that has no graph.
        BackendError: the installed exporter wrote another opset or IR version.
    """
    with one_thread():
        stages = scene_stages(student)
    spec = student.config.teacher.preprocessing
    sizes = {**_EXAMPLE, "size": spec.group_size, "width": student.config.teacher.width}
    return {name: store_in_half(_traced(name, module, sizes)) for name, module in stages.items()}


def _traced(name: str, module: nn.Module, sizes: dict[str, int]) -> onnx.ModelProto:
    form = STAGES[name]
    example = tuple(_example(shape, sizes) for shape in form.inputs.values())
    dims = {one: torch.export.Dim(one, min=1) for one in _EXAMPLE}
    shapes: tuple[dict[int, Any], ...] = tuple(
        {axis: dims[one] for axis, one in enumerate(shape) if one in dims} for shape in form.inputs.values()
    )
    return traced(module, example, tuple(form.inputs), tuple(form.outputs), shapes)


def _example(shape: tuple[str | int, ...], sizes: dict[str, int]) -> Tensor:
    return torch.zeros([size if isinstance(size, int) else sizes[size] for size in shape])
