"""Point-JEPA (Saito et al., WACV 2025): Lightning checkpoints."""

from __future__ import annotations

from foundry_edge.teachers.lightning import LightningAdapter


class PointJepa(LightningAdapter):
    """The online encoder (``student.``): downstream tasks use it, not the EMA copy."""

    kind = "point-jepa"
    source = "Point-JEPA, Lightning .ckpt"
    embedding = "tokenizer.embedding.encoder."
