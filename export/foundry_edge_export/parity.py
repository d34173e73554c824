"""Does ONNX Runtime compute what torch does? Measured, not assumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import torch

from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST
from foundry_edge.models.fixed import FixedStudent
from foundry_edge.models.reducer import TokenCloud
from foundry_edge.models.student import Student
from foundry_edge_calibration.clouds import group_clouds
from foundry_edge_calibration.engine import Array, open_session, run_batches
from foundry_edge_calibration.similarity import token_cosines
from foundry_edge_export.inference import InferenceStudent
from foundry_edge_runtime.backends.base import LOGITS, OUTPUTS
from foundry_edge_runtime.bundle.manifest import Parity
from foundry_edge_runtime.grouping import Preprocessing

_SHAPES = 4
_SIZES = (1024, 700, 300)
_TIE = 1e-5


@dataclass(frozen=True)
class ParityClouds:
    """The same clouds twice: in file order for torch, with their points permuted for ONNX Runtime.

    Attributes:
        groups, centers: (M, c, K, 3) and (M, c, 3) float32 of the clouds as they are.
        permuted_groups, permuted_centers: of the clouds with permuted points.
    """

    groups: Array
    centers: Array
    permuted_groups: Array
    permuted_centers: Array


def parity_clouds(spec: Preprocessing, seed: int = 0) -> ParityClouds:
    """Twelve clouds: four shapes of the sample set's test side at three sizes."""
    rng = np.random.default_rng(seed)
    shapes = load_samples().part(TEST).xyz
    chosen = shapes[rng.permutation(len(shapes))[:_SHAPES]]
    clouds = [xyz[:size] for xyz in chosen for size in _SIZES]
    permuted = [xyz[rng.permutation(len(xyz))] for xyz in clouds]
    return ParityClouds(*group_clouds(clouds, spec), *group_clouds(permuted, spec))


def torch_parity(
    student: Student, model: onnx.ModelProto, count: int, clouds: ParityClouds, bypassed: int = 0
) -> Parity:
    """Largest difference of any output from torch in float64, and of the tokens' direction.

    ONNX Runtime runs the permuted clouds, one by one and all at once. A cloud in which a token lies
    between two SuperTokens, or on the border of those that bypass, within rounding, is left out: either
    choice is right there. The reference is the student's inference form; how far `Student.reconstruct`
    (float32) is from it counts too.
    """
    module = InferenceStudent(student, count, torch.float64, bypassed)
    reference, clear = _reference(module, clouds)
    session = open_session(model)
    names = (*OUTPUTS, LOGITS)[: len(reference)]
    worst = _form_error(FixedStudent(student, count, bypassed), clouds, reference[0], clear)
    cosines = []
    for batch in (1, len(clouds.groups)):
        parts = list(run_batches(session, names, clouds.permuted_groups, clouds.permuted_centers, batch))
        found = [np.concatenate([part[i] for part in parts]) for i in range(len(names))]
        gaps = [np.abs(f[clear] - e[clear]).max(initial=0.0) for f, e in zip(found, reference, strict=True)]
        worst = float(np.max([worst, *gaps]))  # NaN stays NaN
        cosines.append(token_cosines(found[0][clear], reference[0][clear]))
    return _parity("torch float64", worst, np.min(cosines, axis=0))


def relative_parity(found: Array, reference: Array) -> Parity:
    """Tokens (M, c, d) of a lower precision against those of the FP32 graph."""
    return _parity("fp32", float(np.abs(found - reference).max()), token_cosines(found, reference))


def _parity(reference: str, max_abs: float, cosines: npt.NDArray[np.float64]) -> Parity:
    return Parity(
        reference=reference,
        max_abs=max_abs,
        cosine_mean=float(cosines.mean()),
        cosine_worst=float(cosines.min()),
        samples=len(cosines),
    )


@torch.no_grad()
def _reference(
    module: InferenceStudent, clouds: ParityClouds
) -> tuple[list[npt.NDArray[np.float64]], npt.NDArray[np.bool_]]:
    """Outputs in float64, and which clouds (M,) have no tie."""
    groups, centers = torch.from_numpy(clouds.groups).double(), torch.from_numpy(clouds.centers).double()
    outputs = [value.numpy() for value in module(groups, centers)]
    clear = _clear(module, module.mixed(groups, centers)).numpy()
    return outputs, clear if clear.any() else np.ones_like(clear)


def _clear(module: InferenceStudent, cloud: TokenCloud) -> torch.Tensor:
    """Which clouds (B,) have no token between two choices, within rounding."""
    clear = torch.ones(len(cloud.tokens), dtype=torch.bool)
    if module.dso.count > 1:
        scores = module.dso.scores(cloud)
        first, second = scores.topk(2, dim=-1).values.unbind(-1)
        clear &= ((first - second) > _tie(scores)).all(dim=1)
    if module.gate is not None and module.gate.bypassed < cloud.tokens.shape[1]:
        logits = module.gate.logits(cloud.content())
        border = logits.sort(dim=1).values[:, module.gate.bypassed - 1 : module.gate.bypassed + 1]
        clear &= (border[:, 1] - border[:, 0]) > _tie(logits)
    return clear


def _tie(logits: torch.Tensor) -> torch.Tensor:
    return _TIE * logits.abs().amax().clamp_min(1.0)


@torch.no_grad()
def _form_error(
    student: FixedStudent,
    clouds: ParityClouds,
    tokens: npt.NDArray[np.float64],
    clear: npt.NDArray[np.bool_],
) -> float:
    """Largest difference of the student (float32) from the reference tokens (M, c, d)."""
    forward = student(torch.from_numpy(clouds.groups), torch.from_numpy(clouds.centers)).numpy()
    return float(np.abs(forward[clear] - tokens[clear]).max())
