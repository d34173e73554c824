"""The one data set that an argument names."""

from __future__ import annotations

from pathlib import Path

from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import ShapeSet, load_sets
from foundry_edge_runtime.errors import DataError


def one_set(data: str | Path | ShapeSet | None) -> ShapeSet:
    """The one set that ``data`` names; None is the embedded samples.

    Raises:
        DataError: there is none, or there are several.
    """
    if data is None:
        return load_samples()
    if isinstance(data, ShapeSet):
        return data
    sets = load_sets([Path(data)])
    if len(sets) > 1:
        names = ", ".join(shapes.name for shapes in sets)
        raise DataError(f"holds {len(sets)} data sets ({names})", where=str(data), remedy="name one of them")
    return sets[0]
