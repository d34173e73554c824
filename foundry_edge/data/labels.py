"""One vocabulary of object classes over several labelled sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from foundry_edge.data.shapes import ShapeSet

SYNONYMS = {
    "armchair": "chair",
    "building_non_residential": "building",
    "bike": "bicycle",
    "multi_seat": "sofa",
    "non_wheel_chair": "chair",
    "four_leg": "quadruped",
    "human": "humanoid",
    "person": "humanoid",
    "plant": "plant_indoors",
    "rectangle_table": "table",
    "round_table": "table",
    "truck_non_container": "truck",
}


def canonical(name: str) -> str:
    """Snake case and one word for one thing: "NonWheelChair" is "chair"."""
    snake = _snake(name)
    return SYNONYMS.get(snake, snake)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[ -]+", "_", name).lower()


_FORMS: tuple[Callable[[str], str], ...] = (str, _snake, canonical)
"""Ways to compare two names, the strictest first."""


def find_label(name: str, labels: Sequence[str]) -> int:
    """Index in ``labels`` of the class ``name``; -1 where it is not among them.

    The same name goes first, then the same words in another spelling, then another word for the same thing.
    """
    for form in _FORMS:
        wanted = form(name)
        for index, label in enumerate(labels):
            if form(label) == wanted:
                return index
    return -1


def merged(sets: list[ShapeSet]) -> tuple[str, ...]:
    """Class names of all sets in one alphabetical vocabulary."""
    return tuple(sorted({canonical(name) for shapes in sets for name in shapes.classes}))


def relabel(shapes: ShapeSet, vocabulary: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Labels (M,) int64 of ``shapes`` in ``vocabulary`` (`find_label`); -1 for a class it does not hold."""
    table = np.array([find_label(name, vocabulary) for name in shapes.classes] + [-1], dtype=np.int64)
    return table[shapes.label]
