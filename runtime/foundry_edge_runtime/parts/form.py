"""The form of the graph for parts: names and shapes of its inputs and outputs."""

from __future__ import annotations

from foundry_edge_runtime.backends.cpu_graph import Form

PARTS = Form(
    {
        "tokens": ("batch", "groups", "width"),
        "index": ("batch", "points", 3),
        "weight": ("batch", "points", 3),
        "xyz": ("batch", "points", 3),
        "category": ("batch",),
    },
    ("logits",),
)
"""Nearest centres and the category are int64, the others float32; logits are (batch, points, parts)."""
