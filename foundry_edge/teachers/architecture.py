"""The sizes of a teacher, from the shapes of its tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from foundry_edge.models.config import TeacherConfig
from foundry_edge.teachers.adapter import Settings

Shape = tuple[int, ...]
MAX_WIDTH, MAX_DEPTH = 1 << 14, 1 << 10
_BLOCK = re.compile(r"encoder\.blocks\.(\d{1,6})\.")


class TensorError(ValueError):
    """A tensor that decides a size is missing or of another form.

    Attributes:
        name: ours.
        problem: None where it is missing.
    """

    def __init__(self, name: str, problem: str | None = None) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"{name} {problem or 'is missing'}")


def infer(shapes: Mapping[str, Shape], settings: Settings) -> TeacherConfig:
    """The configuration whose `Teacher` has tensors of these names and shapes.

    Args:
        shapes: our tensor names -> shapes.
        settings: what the tensors do not show; ``heads`` must be known.

    Raises:
        TensorError: a tensor that decides a size is missing or of another form.
        ValueError: heads do not divide the width, or a size is out of range.
    """
    (width,) = _shape(shapes, "encoder.norm.weight", 1)
    if settings.heads is None or width % settings.heads:
        raise ValueError(f"width {width} is not a multiple of {settings.heads} heads")
    hidden = _shape(shapes, "encoder.blocks.0.mlp.fc1.weight", 2)[0]
    return TeacherConfig(
        preprocessing=settings.preprocessing,
        width=_within(width, MAX_WIDTH, "width"),
        depth=_depth(shapes),
        heads=settings.heads,
        mlp_ratio=_ratio(width, _within(hidden, 16 * MAX_WIDTH, "hidden width")),
        qkv_bias="encoder.blocks.0.attn.qkv.bias" in shapes,
        conv_bias="tokenizer.conv1.bias" in shapes,
        reduce_from=_reduce_from(shapes),
        cls_token="cls_token" in shapes,
    )


def _shape(shapes: Mapping[str, Shape], name: str, dimensions: int) -> Shape:
    if name not in shapes:
        raise TensorError(name)
    if len(shapes[name]) != dimensions:
        raise TensorError(name, f"should have {dimensions} dimensions, found {list(shapes[name])}")
    return shapes[name]


def _within(value: int, most: int, what: str) -> int:
    if not 1 <= value <= most:
        raise ValueError(f"{what}: expected 1 to {most}, found {value}")
    return value


def _depth(shapes: Mapping[str, Shape]) -> int:
    numbers = {int(found[1]) for found in map(_BLOCK.match, shapes) if found}
    if numbers != set(range(len(numbers))):
        raise ValueError(f"the encoder's blocks are not numbered from 0 to {len(numbers) - 1}")
    return _within(len(numbers), MAX_DEPTH, "depth")


def _ratio(width: int, hidden: int) -> float:
    """The MLP ratio r for which ``int(width * r)`` is ``hidden``."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _reduce_from(shapes: Mapping[str, Shape]) -> int:
    name = "tokenizer.reduce.weight"
    return _within(_shape(shapes, name, 2)[1], MAX_WIDTH, "tokenizer width") if name in shapes else 0
