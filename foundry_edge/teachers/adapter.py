"""What a published format must tell: how its tensors are named, and what its settings say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from foundry_edge_runtime.grouping import Preprocessing

Parts = Mapping[str, str]
"""Published name, or prefix that ends in a dot -> ours (`foundry_edge.models.teacher.Teacher`)."""


@dataclass(frozen=True)
class Settings:
    """What cannot be seen in the tensors; None where the checkpoint does not say.

    Attributes:
        heads: attention heads.
        points: N, points of a cloud.
        groups: c.
        group_size: K.
    """

    heads: int | None = None
    points: int | None = None
    groups: int | None = None
    group_size: int | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        """How points become groups; defaults where nothing is known."""
        known = {"points": self.points, "groups": self.groups, "group_size": self.group_size}
        return Preprocessing(**{name: value for name, value in known.items() if value})


class Adapter(ABC):
    """One published format.

    Attributes:
        kind: its name in reports.
        source: where it comes from.
    """

    kind: ClassVar[str]
    source: ClassVar[str]

    @abstractmethod
    def parts(self, names: Collection[str]) -> Parts | None:
        """Names of the parts of a teacher, or None where ``names`` (of all tensors) are another format's."""

    def settings(self, root: Any) -> Settings:
        """What the checkpoint says beside its tensors.

        Raises:
            ValueError: it is trained in a way that a `Teacher` does not compute.
        """
        return Settings()


def mini_pointnet(prefix: str) -> dict[str, str]:
    """The tokenizer, whose modules are numbered the same way in every format."""
    ours = {
        "first_conv.0.": "conv1.",
        "first_conv.1.": "norm1.",
        "first_conv.3.": "conv2.",
        "second_conv.0.": "conv3.",
        "second_conv.1.": "norm2.",
        "second_conv.3.": "conv4.",
    }
    return {prefix + published: f"tokenizer.{name}" for published, name in ours.items()}


def positional_encoding(prefix: str) -> dict[str, str]:
    """The MLP on the centres."""
    return {f"{prefix}0.": "position.fc1.", f"{prefix}2.": "position.fc2."}
