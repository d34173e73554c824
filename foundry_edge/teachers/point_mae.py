"""Point-MAE (Pang et al., ECCV 2022): .pth checkpoints."""

from __future__ import annotations

from collections.abc import Collection

from foundry_edge.teachers.adapter import Adapter, Parts, mini_pointnet, positional_encoding


class PointMae(Adapter):
    """Pre-trained (``MAE_encoder.``), or fine-tuned: names without prefix, and a cls token more."""

    kind = "point-mae"
    source = "Point-MAE, .pth"

    def parts(self, names: Collection[str]) -> Parts | None:
        """As in `Adapter`."""
        for prefix in ("MAE_encoder.", ""):
            tokenizer = f"{prefix}encoder.first_conv.0.weight" in names
            blocks = any(name.startswith(f"{prefix}blocks.blocks.") for name in names)
            if tokenizer and blocks and f"{prefix}reduce_dim.weight" not in names:
                return point_transformer(prefix)
        return None


def point_transformer(prefix: str) -> dict[str, str]:
    """The transformer that Point-BERT and Point-MAE share."""
    return {
        **mini_pointnet(f"{prefix}encoder."),
        **positional_encoding(f"{prefix}pos_embed."),
        f"{prefix}cls_token": "cls_token",
        f"{prefix}cls_pos": "cls_position",
        f"{prefix}blocks.blocks.": "encoder.blocks.",
        f"{prefix}norm.": "encoder.norm.",
    }
