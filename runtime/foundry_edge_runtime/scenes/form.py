"""The form of the scene graphs: names and shapes of their inputs and outputs."""

from __future__ import annotations

from foundry_edge_runtime.backends.cpu_graph import Form, Shape

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
