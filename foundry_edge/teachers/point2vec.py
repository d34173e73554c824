"""point2vec (Abou Zeid et al., GCPR 2023): Lightning checkpoints."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from foundry_edge.teachers import lightning
from foundry_edge.teachers.adapter import Adapter, Parts, Settings, mini_pointnet, positional_encoding


class Point2Vec(Adapter):
    """The online encoder (``student.``), as its downstream tasks use it."""

    kind = "point2vec"
    source = "point2vec, Lightning .ckpt"

    def parts(self, names: Collection[str]) -> Parts | None:
        """As in `Adapter`."""
        embedding = "tokenizer.embedding."
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
