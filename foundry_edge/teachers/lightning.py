"""Lightning checkpoints of the point2vec family: names of their tensors, and their hyper-parameters."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from foundry_edge.teachers.adapter import Adapter, Parts, Settings, mini_pointnet, positional_encoding
from foundry_edge.teachers.globals import Foreign


class LightningAdapter(Adapter):
    """A format of this family.

    Attributes:
        embedding: where its mini-PointNet is.
    """

    embedding: ClassVar[str]

    def parts(self, names: Collection[str]) -> Parts | None:
        """As in `Adapter`."""
        if f"{self.embedding}first_conv.0.weight" not in names:
            return None
        return {
            **mini_pointnet(self.embedding),
            **positional_encoding("positional_encoding."),
            "student.": "encoder.",
        }

    def settings(self, root: Any) -> Settings:
        """Heads and grouping from ``hyper_parameters``; all None where there are none.

        Raises:
            ValueError: groups are balls, or positions are added once: a `Teacher` computes neither.
        """
        values = hyper_parameters(root)
        if values.get("tokenizer_group_radius") is not None:
            raise ValueError(
                "groups are balls of a fixed radius (tokenizer_group_radius); only kNN is supported"
            )
        if values.get("encoder_add_pos_at_every_layer") is False:
            raise ValueError("positions are added once (encoder_add_pos_at_every_layer), not in every block")
        return Settings(
            heads=_count(values, "encoder_heads"),
            points=_count(values, "transformation_subsample_points"),
            groups=_count(values, "tokenizer_num_groups"),
            group_size=_count(values, "tokenizer_group_size"),
        )


def hyper_parameters(root: Any) -> dict[Any, Any]:
    """The hyper-parameters, a dict or the values of a placeholder (argparse.Namespace, AttributeDict)."""
    values = root.get("hyper_parameters") if isinstance(root, dict) else None
    if isinstance(values, Foreign):
        return values.values
    return values if isinstance(values, dict) else {}


def _count(values: dict[Any, Any], name: str) -> int | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or not 1 <= value <= 1 << 20:
        raise ValueError(f"hyper-parameter {name}: expected a whole number, found {type(value).__name__}")
    return value
