"""Targets from files of features: what `teacher_targets` is for a teacher that can be run."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from foundry_edge.data.groupings import GroupedShapes, Views
from foundry_edge.models.teacher import Teacher
from foundry_edge.teachers.features import Pair, PointFeatures, interpolate, pair_scans, read_features
from foundry_edge.training.targets import TeacherTargets
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.grouping import Preprocessing, canonical_order, group_indices, normalise
from foundry_edge_runtime.grouping.sampling import stratified_indices
from foundry_edge_runtime.pointcloud import FloatArray, PointCloud
from foundry_edge_runtime.readers import read_points

PROJECTION = "projection.safetensors"
HELD_OUT = 0.1
SUBSET = 7 / 8
RIDGE = 1e-3
"""Regularisation of the closed-form projection, relative to the mean square of its input."""
OnScan = Callable[[int, int], None]


@dataclass(frozen=True)
class FeatureTargets:
    """What distillation against files of features needs.

    Attributes:
        fit: views of the training scans; features (M, c, D) standardised per channel over them.
        held_out: scans for the figures, standardised alike.
        projection: from the student's width d to D; starts as the ridge regression from what the student
            starts from.
        mean: (D,), of the features as they are in the files.
        deviation: (D,), likewise.
        pairs: scans and files of features, held-out ones last.
        scans: training scans.
    """

    fit: TeacherTargets
    held_out: TeacherTargets
    projection: nn.Linear
    mean: Tensor
    deviation: Tensor
    pairs: tuple[Pair, ...]
    scans: int

    def save_projection(self, folder: Path) -> None:
        """Write projection.safetensors: ``weight`` (D, d) and ``bias`` (D,), to the files' own units.

        A student's output y (B, c, d) is ``y @ weight.T + bias`` in the terms of the foreign teacher.
        """
        weight, bias = self.projection.weight.detach().cpu(), self.projection.bias.detach().cpu()
        state = {"weight": weight * self.deviation[:, None], "bias": bias * self.deviation + self.mean}
        with replacing(folder / PROJECTION) as partial:
            partial.write_bytes(save(state))


@torch.no_grad()
def feature_targets(
    start: Teacher, data: list[Path], folder: Path, views: int, seed: int, on_scan: OnScan
) -> FeatureTargets:
    """Group every scan ``views`` times and interpolate its features to the group centres.

    View 0 takes the whole scan; each other one a random 7/8 of its points, so its centres differ. Scans are
    not turned or scaled: a foreign teacher's features need not follow. About a tenth of the scans (by the
    checksum of their names, at least one) is held out.

    Args:
        start: whose tokenizer and positions the student shares, and from which it starts.
        data: folders of scans.
        folder: of the features.
        views: V per training scan.
        seed: of the subsets.
        on_scan: told (scans done, scans in all).

    Raises:
        InputError, DataError, ScanError: see `pair_scans`, `read_features` and `read_points`; also fewer
            than two scans, or files of different D.
    """
    fit_pairs, check_pairs = split_pairs(pair_scans(data, folder))
    total = len(fit_pairs) + len(check_pairs)
    fit = _targets(start, fit_pairs, views, seed, lambda done: on_scan(done, total))
    held_out = _targets(start, check_pairs, 1, seed, lambda done: on_scan(len(fit_pairs) + done, total))
    width = fit.features.shape[-1]
    if held_out.features.shape[-1] != width:
        raise _other_width(check_pairs[0], held_out.features.shape[-1], width)
    flat = fit.features.flatten(0, 1)
    mean, deviation = flat.mean(dim=0), flat.std(dim=0).clamp_min(1e-6)
    fit, held_out = (_standardised(targets, mean, deviation) for targets in (fit, held_out))
    pairs = (*fit_pairs, *check_pairs)
    return FeatureTargets(fit, held_out, fit_projection(start, fit), mean, deviation, pairs, len(fit_pairs))


def split_pairs(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Training pairs, and held-out ones.

    Raises:
        DataError: there are fewer than two.
    """
    if len(pairs) < 2:
        raise DataError("one scan alone", where=pairs[0].scan, remedy="give two or more: one is held out")
    ranked = sorted(pairs, key=lambda pair: (zlib.crc32(pair.features.name.encode()), pair.scan))
    count = max(round(HELD_OUT * len(pairs)), 1)
    return ranked[count:], ranked[:count]


def _standardised(targets: TeacherTargets, mean: Tensor, deviation: Tensor) -> TeacherTargets:
    features = ((targets.features - mean) / deviation).clamp(-1e4, 1e4).half()
    return replace(targets, features=features)


def _targets(
    start: Teacher, pairs: list[Pair], views: int, seed: int, on_scan: Callable[[int], None]
) -> TeacherTargets:
    """Groups and tokens (float16), centres and features (float32) of all views of all pairs."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Tensor, ...]] = []
    for done, pair in enumerate(pairs, start=1):
        cloud, features = read_points(pair.scan), read_features(pair.features)
        for view in range(views):
            rows.append(_view(start, cloud, features, rng if view else None, pair))
        if rows[-1][3].shape != rows[0][3].shape:
            raise _other_width(pair, rows[-1][3].shape[-1], rows[0][3].shape[-1])
        on_scan(done)
    groups, centers, tokens, targets = (torch.stack(parts) for parts in zip(*rows, strict=True))
    clouds = Views.of(GroupedShapes(groups[:, None], centers[:, None]), 1, seed)
    return TeacherTargets(tokens, centers, targets, clouds)


def _view(
    start: Teacher, cloud: PointCloud, found: PointFeatures, rng: np.random.Generator | None, pair: Pair
) -> tuple[Tensor, ...]:
    xyz = cloud.xyz
    if rng is not None:
        xyz = xyz[rng.choice(len(xyz), max(int(len(xyz) * SUBSET), 1), replace=False)]
    groups, centers, places = grouped_in_place(xyz, start.config.preprocessing)
    radius = float(np.linalg.norm(cloud.xyz - cloud.xyz.mean(axis=0), axis=1).max())
    targets = interpolate(found, places + cloud.origin, radius, pair.features)
    grouped = torch.from_numpy(groups)
    tokens = start.tokenizer(grouped[None])[0].half()
    return grouped.half(), torch.from_numpy(centers), tokens, torch.from_numpy(targets)


def grouped_in_place(xyz: FloatArray, spec: Preprocessing) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`group_points` that also says where its centres lie in the scan.

    Returns:
        groups (c, K, 3), centres (c, 3) normalised, and the same centres (c, 3) in coordinates of ``xyz``.
    """
    drawn = xyz[canonical_order(xyz)][stratified_indices(len(xyz), spec.points)]
    points = normalise(drawn)
    index, near = group_indices(points, spec)
    return points[near] - points[index][:, None], points[index], drawn[index]


def fit_projection(start: Teacher, targets: TeacherTargets) -> nn.Linear:
    """The ridge regression from the start's features (d) to the targets' (D), in closed form."""
    width, wide = start.config.width, targets.features.shape[-1]
    gram = torch.zeros(width + 1, width + 1, dtype=torch.float64)
    cross = torch.zeros(width + 1, wide, dtype=torch.float64)
    for rows in torch.arange(len(targets)).split(64):
        tokens, centers, features = targets.batch(rows, torch.device("cpu"))
        known = start.encode_tokens(tokens, start.position(centers)).flatten(0, 1).double()
        known = torch.cat([known, torch.ones(len(known), 1, dtype=torch.float64)], dim=1)
        gram += known.T @ known
        cross += known.T @ features.flatten(0, 1).double()
    penalty = RIDGE * gram.diagonal().mean() * torch.eye(width + 1, dtype=torch.float64)
    solved = torch.linalg.solve(gram + penalty, cross).float()
    projection = nn.Linear(width, wide)
    projection.weight.copy_(solved[:-1].T)
    projection.bias.copy_(solved[-1])
    return projection.requires_grad_(True)


def _other_width(pair: Pair, found: int, expected: int) -> DataError:
    return DataError(
        f"features of width {found}, expected {expected} as in the other files",
        where=pair.features,
        remedy="take all features from one teacher",
    )
