"""Which way is up: a teacher trained with +y up, made to work where z is up.

The tokenizer and the positions meet coordinates in a linear map first, so a turn of the input is exactly a
turn of two weight matrices.
"""

from __future__ import annotations

from typing import Literal

import torch

from foundry_edge.models.teacher import Teacher

Up = Literal["y", "z"]
_Y_UP_FROM_Z_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
"""(x, y, z) with z up -> (x, z, -y) with y up; data sets are turned the other way when they are read."""


@torch.no_grad()
def turn_upright(teacher: Teacher) -> None:
    """Change a teacher that expects +y up into one that computes the same of z-up input."""
    turn = torch.tensor(_Y_UP_FROM_Z_UP)
    for layer in (teacher.tokenizer.conv1, teacher.position.fc1):
        layer.weight.copy_(layer.weight @ turn)
