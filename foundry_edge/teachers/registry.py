"""The known formats. A new one is one adapter class in its own file, and one line here."""

from __future__ import annotations

from collections.abc import Collection

from foundry_edge.teachers.adapter import Adapter, Parts
from foundry_edge.teachers.point2vec import Point2Vec
from foundry_edge.teachers.point_bert import PointBert
from foundry_edge.teachers.point_jepa import PointJepa
from foundry_edge.teachers.point_mae import PointMae

ADAPTERS: tuple[Adapter, ...] = (PointJepa(), Point2Vec(), PointMae(), PointBert())


def recognise(names: Collection[str]) -> tuple[Adapter, Parts] | None:
    """The first format that tensors of these names are in, with its parts; None where there is none."""
    for adapter in ADAPTERS:
        parts = adapter.parts(names)
        if parts is not None:
            return adapter, parts
    return None
