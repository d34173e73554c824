"""Options that the training commands share: the same name, help and meaning in each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foundry_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from foundry_edge.models.config import TeacherConfig
    from foundry_edge.training.settings import TrainSettings

Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0)]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue from the checkpoint in --out; with more steps or epochs, go on where it had finished. "
        "Without it the run begins anew; a model in --out is moved to its folder previous.",
    ),
]
Batch = Annotated[int, typer.Option(help="Clouds per training step.", min=1)]
LearningRate = Annotated[float, typer.Option(help="Peak learning rate.", min=0)]
TrainPrecision = Annotated[str, typer.Option(help="auto, 32-true or bf16-mixed.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        help="A data set in any form of docs/data.md, or a folder of .npz sets; may be repeated. "
        "Default: the embedded samples.",
    ),
]


def numbers(text: str, flag: str, *, zero: bool = False) -> tuple[int, ...]:
    """``"1,2,4"`` as ascending distinct numbers.

    Args:
        text: of the option.
        flag: its name.
        zero: whether 0 is one of them.

    Raises:
        InputError: a part is no positive whole number, nor a permitted 0.
    """
    try:
        values = sorted({int(part) for part in text.split(",")})
    except ValueError:
        values = [-1]
    if values[0] < (0 if zero else 1):
        wanted, example = (
            ("whole numbers from 0", "0,8") if zero else ("positive whole numbers", "1,2,4,8,16")
        )
        raise InputError(f"expected {wanted}, got {text!r}", where=flag, remedy=f"for example {example}")
    return tuple(values)


def train_settings(**values: Any) -> TrainSettings:
    """`TrainSettings` from flags.

    Raises:
        InputError: a value is out of range; the message names the flag.
    """
    from foundry_edge.models.config import checked
    from foundry_edge.training.settings import TrainSettings

    return checked(TrainSettings, **values)


def teacher_config(**values: Any) -> TeacherConfig:
    """`TeacherConfig` from flags.

    Raises:
        InputError: a value is out of range; the message names the flag.
    """
    from foundry_edge.models.config import TeacherConfig, checked

    return checked(TeacherConfig, **values)
