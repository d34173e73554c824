"""Do the scene graphs, part by part, compute what torch does on the whole sequence? Measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor

from foundry_edge.data.samples import load_samples
from foundry_edge.models.reducer import TokenCloud
from foundry_edge.models.student import Student
from foundry_edge.training.scene_student import SceneStudent
from foundry_edge_calibration.engine import Array, open_session
from foundry_edge_calibration.similarity import token_cosines
from foundry_edge_runtime.bundle.manifest import Parity
from foundry_edge_runtime.errors import GateError
from foundry_edge_runtime.grouping import SceneGroups, group_scene
from foundry_edge_runtime.scenes.encoding import Encoded, encode_scene
from foundry_edge_runtime.scenes.form import STAGES
from foundry_edge_runtime.scenes.frame import frame_of, group_scale
from foundry_edge_runtime.scenes.plan import Chunks

MAX_RELATIVE = 1e-4
CHUNKS = (Chunks(1, 37), Chunks(3, 100_000))
_SHAPES = 16
_SPACING = 2.2
_TIE = 1e-5


class Sessions:
    """Runs stages from models in memory."""

    def __init__(self, models: Mapping[str, onnx.ModelProto]) -> None:
        self._sessions = {name: open_session(model) for name, model in models.items()}

    def run(self, stage: str, *inputs: Array) -> list[Array]:
        """Outputs of a stage."""
        form = STAGES[stage]
        feed = {name: np.ascontiguousarray(one) for name, one in zip(form.inputs, inputs, strict=True)}
        outputs: list[Array] = self._sessions[stage].run(list(form.outputs), feed)
        return outputs


def sample_scene(seed: int, shapes: int = _SHAPES, spacing: float = _SPACING) -> Array:
    """Points (N, 3) of shapes of the sample set, side by side on a square grid."""
    xyz = load_samples().xyz
    chosen = np.random.default_rng(seed).permutation(len(xyz))[:shapes]
    side = int(np.ceil(shapes**0.5))
    number = np.arange(shapes)
    places = np.stack([number % side, number // side, 0 * number], axis=1).astype(np.float32) * spacing
    return (xyz[chosen] + places[:, None]).reshape(-1, 3).astype(np.float32)


def scene_parity(student: Student, models: Mapping[str, onnx.ModelProto], about: Mapping[str, Any]) -> Parity:
    """Largest difference of any feature from torch in float64, relative to the largest feature.

    Scenes in which a token lies between two SuperTokens, within rounding, are passed over.

    Raises:
        GateError: it is above 1e-4.
    """
    sessions, spec = Sessions(models), student.config.teacher.preprocessing
    for seed in range(8):
        xyz = sample_scene(seed)
        grouped = group_scene(frame_of(xyz).apply(xyz), len(xyz) // spec.group_size, spec.group_size)
        scale = group_scale(grouped, about["group_radius"], len(grouped))
        expected, clear = whole_scene(student, grouped, scale, about["tokens"][-1])
        if clear:
            break
    width = student.config.teacher.width
    results = [chunked(sessions, grouped, scale, about, width, chunks).tokens for chunks in CHUNKS]
    worst = float(np.max([np.abs(one - expected).max() for one in results]) / np.abs(expected).max())
    if not worst <= MAX_RELATIVE:  # NaN too
        raise GateError(
            f"scene graphs differ from torch by {worst:.1e} (relative), allowed {MAX_RELATIVE:g}",
            remedy="this is a defect of the export or of ONNX Runtime: please report it",
        )
    cosines = token_cosines(results[0][None], expected[None])
    return Parity(
        reference="torch float64, whole sequence",
        max_abs=worst * float(np.abs(expected).max()),
        cosine_mean=float(cosines.mean()),
        cosine_worst=float(cosines.min()),
        samples=len(expected),
    )


def chunked(
    stages: Sessions, grouped: SceneGroups, scale: float, about: Mapping[str, Any], width: int, chunks: Chunks
) -> Encoded:
    """The scene as the runtime computes it, at the largest budget."""
    return encode_scene(stages, grouped, scale, about["tokens"][-1], about["window"], width, chunks)


@torch.no_grad()
def whole_scene(
    student: Student, grouped: SceneGroups, scale: float, count: int
) -> tuple[npt.NDArray[np.float64], bool]:
    """Features (c, d) by torch in float64 on the whole sequence, and whether no token lies on a tie."""
    exact = SceneStudent(student.config)
    exact.load_state_dict(student.state_dict())
    exact = exact.double()
    groups = torch.from_numpy(grouped.groups() * np.float32(scale)).double()[None]
    centers = torch.from_numpy(grouped.centers).double()[None]
    tokens = exact.tokenizer(groups)
    features: Tensor = exact.reconstruct(tokens, centers, count).features
    return features[0].numpy(), _clear(exact, tokens, centers, count)


def _clear(exact: SceneStudent, tokens: Tensor, centers: Tensor, count: int) -> bool:
    if count == 1:
        return True
    positions = exact.position(centers)
    cloud = TokenCloud(exact.mix(tokens, positions, centers), positions, centers)
    logits = exact.dso.logits(cloud, count)  # type: ignore[operator]
    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    return bool(((first - second) > _TIE * logits.abs().amax().clamp_min(1.0)).all())
