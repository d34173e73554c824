"""Point-BERT (Yu et al., CVPR 2022): .pth checkpoints."""

from __future__ import annotations

from collections.abc import Collection

from foundry_edge.teachers.adapter import Adapter, Parts
from foundry_edge.teachers.point_mae import point_transformer


class PointBert(Adapter):
    """Pre-trained (``transformer_q.``; the momentum copy ``transformer_k.`` is left out), or fine-tuned."""

    kind = "point-bert"
    source = "Point-BERT, .pth with or without `module.`"

    def parts(self, names: Collection[str]) -> Parts | None:
        """As in `Adapter`."""
        for prefix in ("transformer_q.", ""):
            if f"{prefix}reduce_dim.weight" in names:
                return {**point_transformer(prefix), f"{prefix}reduce_dim.": "tokenizer.reduce."}
        return None
