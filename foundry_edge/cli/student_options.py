"""Options of `distill` that say what the student is and how it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Teacher = Annotated[
    str, typer.Option(help="Teacher: a folder, embedded:teacher, or a published .ckpt or .pth file.")
]
TeacherFeatures = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Distil another model, from an .npz (xyz, features) for each scan of --data; "
        "the student starts from --teacher.",
    ),
]
Method = Annotated[
    str,
    typer.Option(
        help="dso (SuperTokens), or a baseline under the same loop: fps, kmeans, tome, patchmerger, "
        "truncation, mimicry, kd-classification, kd-parts."
    ),
]
Tokens = Annotated[
    str | None,
    typer.Option(
        help="SuperToken budgets of the elastic student [default: 1,2,4,8,16]; one alone is dedicated."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for the student.")]
Query = Annotated[
    str | None,
    typer.Option(help="DSO queries: located (the default), anchored, cosine, or learned (the paper's)."),
]
MixingBlocks = Annotated[
    int | None,
    typer.Option(help="Leading teacher blocks that run on all tokens [default: 3 for dso].", min=0),
]
AttentionBlocks = Annotated[
    int | None,
    typer.Option(help="Blocks after them that run on all tokens too, without their MLP.", min=0),
]
MlpRatio = Annotated[
    float | None,
    typer.Option(
        help="Hidden width of the MLPs on all tokens, over d [default: 1 for dso, else the teacher's].",
        min=0.01,
    ),
]
Depth = Annotated[
    int | None,
    typer.Option(
        help="Blocks on the SuperTokens, 1 or more [default: 2 for dso, else all left]; "
        "of truncation (0: none) and mimicry: all.",
    ),
]
Width = Annotated[int | None, typer.Option(help="Width of the small model of mimicry.", min=8)]
Heads = Annotated[int | None, typer.Option(help="Heads of the small model of mimicry.", min=1)]
Routing = Annotated[
    str | None, typer.Option(help="How SuperTokens return to tokens: hard (the default) or soft.")
]
Residual = Annotated[
    str | None,
    typer.Option(
        help="What a token adds to what returns: itself (update, the default of dso) or a map of it (mapped)."
    ),
]
CauMlp = Annotated[
    bool | None,
    typer.Option(
        "--cau-mlp/--no-cau-mlp",
        help="End in an MLP on all tokens, --mlp-ratio wide [default: yes, but not for truncation].",
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        help="full (the teacher's, frozen) or lite (a light one, learned along; the default of dso)."
    ),
]
LiteWidth = Annotated[
    int | None, typer.Option(help="Width of the light tokenizer's first layer [default: 64].", min=4)
]
Gate = Annotated[bool, typer.Option("--gate", help="Train a gate too: tokens may bypass the SuperTokens.")]
MergeRate = Annotated[
    float | None,
    typer.Option(help="Share of the tokens that the gate is to merge [default: 0.75].", min=0, max=1),
]
FreezeEncoder = Annotated[
    bool, typer.Option("--freeze-encoder", help="Keep the teacher's blocks as they are.")
]
Temperature = Annotated[
    str, typer.Option(help="Temperature of the soft assignment at the first and the last step.")
]
Views = Annotated[int, typer.Option(help="Cached views per shape, augmented but for the first.", min=1)]
Steps = Annotated[int, typer.Option(help="Training steps.", min=1)]
Scenes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="D",
        help="Continue --start on scenes: scans, folders of scans, or 'synthetic'; repeat for more.",
    ),
]
Start = Annotated[
    str | None,
    typer.Option(help="With --scenes: the student to continue [default: embedded:student]."),
]
