"""The pre-training corpus: the training sides of many sets, without known overlaps with any test side."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foundry_edge.data.array_cache import kept
from foundry_edge.data.groupings import GroupedShapes, cached_groupings, joined
from foundry_edge.data.overlap import SCREEN, geometry_hash, near_copies
from foundry_edge.data.shapes import TEST, TRAIN, ShapeSet
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.pointcloud import FloatArray


def training_side(sets: list[ShapeSet]) -> list[ShapeSet]:
    """The training shapes of every set, without those that a test side holds too.

    Left out are shapes that equal, point for point, a shape of any test side; shapes that the screen of
    overlap.py calls copies of a test shape of another set (a set's own split is left as published); and
    parts_psb's category Human, whose shapes are the test bodies of parts_human.
    """
    tested = {geometry_hash(xyz) for shapes in sets for xyz in shapes.part(TEST).xyz}
    fresh = []
    for shapes in sets:
        others = [other.part(TEST).xyz for other in sets if other is not shapes]
        fresh.append(_without_copies(_kept(shapes.part(TRAIN), tested), others))
    return fresh


def _kept(shapes: ShapeSet, tested: set[bytes]) -> ShapeSet:
    fresh = np.array([geometry_hash(xyz) not in tested for xyz in shapes.xyz], dtype=np.bool_)
    if shapes.name == "parts_psb" and "Human" in shapes.classes:
        fresh &= shapes.label != shapes.classes.index("Human")
    return shapes.where(fresh)


def _without_copies(shapes: ShapeSet, others: list[FloatArray]) -> ShapeSet:
    copies = np.zeros(len(shapes), dtype=np.bool_)
    for other in others:
        copies |= _screened(shapes.xyz, other)
    return shapes.where(~copies)


def _screened(shapes: FloatArray, other: FloatArray) -> npt.NDArray[np.bool_]:
    """`near_copies`, kept in the user's cache: the screen takes seconds for every thousand shapes."""
    key = hashlib.sha256(SCREEN.encode())
    for part in (shapes, other):
        key.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
    return kept("overlap", key.hexdigest()[:24], lambda: near_copies(shapes, other))


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
    return joined(parts)
