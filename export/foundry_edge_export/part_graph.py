"""The head for parts as an ONNX graph, compared with torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor

from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST
from foundry_edge.models.part_head import PartHead
from foundry_edge.models.student import Student
from foundry_edge_calibration.clouds import group_clouds
from foundry_edge_calibration.engine import open_session
from foundry_edge_calibration.similarity import token_cosines
from foundry_edge_export.compact import store_in_half
from foundry_edge_export.gates import FP32_MAX_ABS
from foundry_edge_export.graph import traced
from foundry_edge_export.lint import lint
from foundry_edge_runtime.bundle.manifest import Parity
from foundry_edge_runtime.errors import GateError
from foundry_edge_runtime.grouping import to_model_frame
from foundry_edge_runtime.interpolation import nearest_centres
from foundry_edge_runtime.parts.form import PARTS

_EXAMPLE = {"batch": 2, "points": 7}
_INTEGERS = frozenset({"index", "category"})
_CLOUDS, _POINTS = 4, 300
Feed = dict[str, npt.NDArray[Any]]


def part_graph(head: PartHead, student: Student) -> tuple[onnx.ModelProto, Parity]:
    """The graph of a head, FP32, weights inside, opset 20, IR 10; and how far it is from torch.

    Inputs and output as `PARTS` has them; batch and points stay open.

    Raises:
        BackendError: the installed exporter wrote another opset or IR version, or a node breaks a rule.
        GateError: a logit differs from torch in float64 by more than 1e-4.
    """
    sizes = {**_EXAMPLE, "groups": student.config.teacher.preprocessing.groups, "width": head.config.width}
    dims = {name: torch.export.Dim(name, min=1) for name in _EXAMPLE}
    example, shapes = [], []
    for name, shape in PARTS.inputs.items():
        lengths = [one if isinstance(one, int) else sizes[one] for one in shape]
        example.append(torch.zeros(lengths, dtype=torch.int64 if name in _INTEGERS else torch.float32))
        shapes.append({axis: dims[one] for axis, one in enumerate(shape) if one in dims})
    plain = traced(head, tuple(example), tuple(PARTS.inputs), PARTS.outputs, tuple(shapes))
    model = store_in_half(plain)
    lint(model, "the head for parts")
    return model, _parity(head, student, model)


@torch.no_grad()
def _parity(head: PartHead, student: Student, model: onnx.ModelProto) -> Parity:
    """Whole clouds one by one, and the first points of all of them at once."""
    feed = _feed(head, student)
    exact = PartHead(head.config).double().eval()
    exact.load_state_dict(head.state_dict())
    expected = exact(*(_double(feed[name]) for name in PARTS.inputs)).numpy()
    session = open_session(model)
    single = [session.run(PARTS.outputs, _rows(feed, slice(i, i + 1)))[0] for i in range(_CLOUDS)]
    few = {name: value[:, :_POINTS] if name in _of_points() else value for name, value in feed.items()}
    found = np.concatenate(single)
    together = session.run(PARTS.outputs, few)[0]
    gaps = np.abs(found - expected).max(), np.abs(together - expected[:, :_POINTS]).max()
    worst = float(np.max(gaps))
    if not worst <= FP32_MAX_ABS:  # NaN too
        raise GateError(
            f"the graph for parts differs from torch by {worst:.1e}, allowed {FP32_MAX_ABS:g}",
            remedy="this is a defect of the export or of ONNX Runtime: please report it",
        )
    cosines = token_cosines(found, expected)
    return Parity(
        reference="torch float64",
        max_abs=worst,
        cosine_mean=float(cosines.mean()),
        cosine_worst=float(cosines.min()),
        samples=_CLOUDS,
    )


def _feed(head: PartHead, student: Student) -> Feed:
    """Shapes of the sample set's test side with the student's tokens, the categories in turn."""
    spec = student.config.teacher.preprocessing
    clouds = load_samples().part(TEST).xyz[:_CLOUDS]
    groups, centers = group_clouds(clouds, spec)
    tokens = student(torch.from_numpy(groups), torch.from_numpy(centers), student.config.tokens[-1])
    xyz = np.stack([to_model_frame(cloud, spec) for cloud in clouds])
    near = [nearest_centres(*pair) for pair in zip(xyz, centers, strict=True)]
    return {
        "tokens": tokens.numpy(),
        "index": np.stack([index for index, _ in near]),
        "weight": np.stack([weight for _, weight in near]).astype(np.float32),
        "xyz": xyz,
        "category": np.arange(_CLOUDS) % len(head.config.categories),
    }


def _of_points() -> set[str]:
    return {name for name, shape in PARTS.inputs.items() if "points" in shape}


def _rows(feed: Feed, rows: slice) -> Feed:
    return {name: value[rows] for name, value in feed.items()}


def _double(values: npt.NDArray[Any]) -> Tensor:
    tensor = torch.from_numpy(values)
    return tensor.double() if tensor.is_floating_point() else tensor
