"""Point-JEPA (Saito et al., WACV 2025): Lightning checkpoints."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from foundry_edge.teachers import lightning
from foundry_edge.teachers.adapter import Adapter, Parts, Settings, mini_pointnet, positional_encoding


class PointJepa(Adapter):
    """The online encoder (``student.``): downstream tasks use it, not the EMA copy."""

    kind = "point-jepa"
    source = "Point-JEPA, Lightning .ckpt"

    def parts(self, names: Collection[str]) -> Parts | None:
        """As in `Adapter`."""
        embedding = "tokenizer.embedding.encoder."
        if f"{embedding}first_conv.0.weight" not in names:
            return None
        return {
            **mini_pointnet(embedding),
            **positional_encoding("positional_encoding."),
            "student.": "encoder.",
        }

    def settings(self, root: Any) -> Settings:
        """As in `Adapter`."""
        return lightning.settings(root)
