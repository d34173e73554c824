"""A data set as a rung sees it: groupings and features are computed once and kept in the user's cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from foundry_edge.data.array_cache import kept
from foundry_edge.data.groupings import GroupedShapes, cached_groupings
from foundry_edge.data.shape_set import TEST, TRAIN, ShapeSet
from foundry_edge.evaluation.rungs import EvaluatedRung
from foundry_edge.measures.features import Advance, global_features, silent, token_features
from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.errors import CheckpointError, DataError
from foundry_edge_runtime.grouping import Preprocessing

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """Features (M, 2d) and labels (M,) of one side of the split."""

    features: Features
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Judged:
    """One data set under evaluation.

    Attributes:
        shapes: the set; shapes without a label are left out.
        advance: shown progress.
    """

    shapes: ShapeSet
    advance: Advance = silent
    _groupings: dict[str, GroupedShapes] = field(default_factory=dict, repr=False)

    def grouped(self, spec: Preprocessing) -> GroupedShapes:
        """One grouping of every shape, of its first N points."""
        key = spec.model_dump_json()
        if key not in self._groupings:
            self.advance(0, len(self.shapes), "grouping")
            folder = cache_folder() / "groupings"
            self._groupings[key] = cached_groupings(self.shapes.xyz, spec, 1, 0, folder)
        return self._groupings[key]

    def sides(self, rung: EvaluatedRung) -> tuple[Side, Side]:
        """Global features of the training and the test side.

        Raises:
            DataError: a side has no labelled shape.
            CheckpointError: features are NaN or infinite.
        """
        features = self._global(rung)
        if not np.isfinite(features).all():
            raise CheckpointError(
                f"its features hold NaN or infinity ({rung.name})",
                remedy="its weights are damaged: train, import or export it anew",
            )
        train, test = (self._side(features, side) for side in (TRAIN, TEST))
        for side, name in ((train, "training"), (test, "test")):
            if not len(side):
                raise DataError(
                    f"has no labelled shape on the {name} side",
                    where=self.shapes.name,
                    remedy="give labels and a split (docs/data.md)",
                )
        return train, test

    def tokens(self, rung: EvaluatedRung, chosen: npt.NDArray[np.bool_] | None = None) -> Tensor:
        """Token features (M, c, d) of all shapes, or of those ``chosen`` (M,)."""
        grouped = self.grouped(rung.preprocessing)
        if chosen is not None:
            grouped = GroupedShapes(grouped.groups[chosen], grouped.centers[chosen])
        return token_features(rung.encode, grouped, advance=self.advance, name=rung.name)

    def _side(self, features: Features, side: int) -> Side:
        mask = (self.shapes.split == side) & (self.shapes.label >= 0)
        return Side(features[mask], self.shapes.label[mask])

    def _global(self, rung: EvaluatedRung) -> Features:
        grouped = self.grouped(rung.preprocessing)
        digest = hashlib.sha256(np.ascontiguousarray(self.shapes.xyz).tobytes())
        digest.update(f"{rung.digest} {rung.preprocessing.model_dump_json()}".encode())
        return kept(
            "features",
            digest.hexdigest()[:24],
            lambda: global_features(rung.encode, grouped, advance=self.advance, name=rung.name),
        )
