"""The pre-training corpus: the training sides of many sets, without known overlaps with any test side."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch

from foundry_edge.data.groupings import GroupedShapes, cached_groupings
from foundry_edge.data.shapes import TEST, TRAIN, ShapeSet
from foundry_edge_runtime.grouping import Preprocessing


def training_side(sets: list[ShapeSet]) -> list[ShapeSet]:
    """The training shapes of every set that are not, point for point, on any test side.

    parts_psb's category Human is left out: its shapes are the test bodies of parts_human.
    """
    tested = {_digest(xyz) for shapes in sets for xyz in shapes.part(TEST).xyz}
    return [_kept(shapes.part(TRAIN), tested) for shapes in sets]


def _kept(shapes: ShapeSet, tested: set[bytes]) -> ShapeSet:
    fresh = np.array([_digest(xyz) not in tested for xyz in shapes.xyz], dtype=np.bool_)
    if shapes.name == "parts_psb" and "Human" in shapes.classes:
        fresh &= shapes.label != shapes.classes.index("Human")
    return shapes.where(fresh)


def _digest(xyz: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bytes:
    return hashlib.sha256(np.sort(xyz, axis=0).tobytes()).digest()


def grouped_corpus(
    sets: list[ShapeSet],
    spec: Preprocessing,
    variants: int,
    seed: int,
    cache: Path,
    one_sided_variants: int = 0,
) -> GroupedShapes:
    """All shapes of ``sets`` in one `GroupedShapes`, groupings cached per set in the folder ``cache``."""
    parts = [cached_groupings(s.xyz, spec, variants, seed, cache, one_sided_variants) for s in sets if len(s)]
    return GroupedShapes(torch.cat([p.groups for p in parts]), torch.cat([p.centers for p in parts]))
