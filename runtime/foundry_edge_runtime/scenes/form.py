"""The form of the scene graphs: names and shapes of their inputs and outputs."""

from __future__ import annotations

from typing import NamedTuple

Shape = tuple[str | int, ...]


class Form(NamedTuple):
    """Inputs by name, with shapes; a name in a shape is a size that differs. Outputs in order."""

    inputs: dict[str, Shape]
    outputs: tuple[str, ...]


_RUN: dict[str, Shape] = {"tokens": ("run", "width"), "centers": ("run", 3)}

STAGES: dict[str, Form] = {
    "tokens": Form(
        {"groups": ("windows", "window", "size", 3), "centers": ("windows", "window", 3)}, ("tokens",)
    ),
    "assign": Form(
        {**_RUN, "anchor_tokens": ("supertokens", "width"), "anchor_centers": ("supertokens", 3)},
        ("sums", "position_sums", "sizes", "routes"),
    ),
    "encode": Form(
        {
            "sums": ("supertokens", "width"),
            "position_sums": ("supertokens", "width"),
            "sizes": ("supertokens", 1),
        },
        ("returned",),
    ),
    "restore": Form(
        {**_RUN, "routes": ("run", "supertokens"), "returned": ("supertokens", "width")}, ("features",)
    ),
}
"""The stages in the order in which a scene passes them."""
