"""One vocabulary of object classes over several labelled sets."""

from __future__ import annotations

import re

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
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[ -]+", "_", name).lower()
    return SYNONYMS.get(snake, snake)


def merged(sets: list[ShapeSet]) -> tuple[str, ...]:
    """Class names of all sets in one alphabetical vocabulary."""
    return tuple(sorted({canonical(name) for shapes in sets for name in shapes.classes}))


def relabel(shapes: ShapeSet, vocabulary: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Labels (M,) int64 of ``shapes`` in ``vocabulary``; -1 for a class it does not hold."""
    position = {name: i for i, name in enumerate(vocabulary)}
    table = np.array([position.get(canonical(name), -1) for name in shapes.classes] + [-1], dtype=np.int64)
    return table[shapes.label]
