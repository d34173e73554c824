"""point2vec (Abou Zeid et al., GCPR 2023): Lightning checkpoints."""

from __future__ import annotations

from foundry_edge.teachers.lightning import LightningAdapter


class Point2Vec(LightningAdapter):
    """The online encoder (``student.``), as its downstream tasks use it."""

    kind = "point2vec"
    source = "point2vec, Lightning .ckpt"
    embedding = "tokenizer.embedding."
