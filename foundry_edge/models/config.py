"""Sizes of teachers and students; dumped as config.json beside every set of weights."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.grouping import Preprocessing

Query = Literal["learned", "cosine", "anchored", "located"]
Routing = Literal["hard", "soft"]
Residual = Literal["mapped", "update"]
TokenizerKind = Literal["full", "lite"]
Config = TypeVar("Config", bound=BaseModel)


class TeacherConfig(BaseModel):
    """A point-cloud transformer in the Point-JEPA / Point-MAE family."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["teacher"] = "teacher"
    preprocessing: Preprocessing = Preprocessing()
    width: int = Field(192, ge=8, description="d: width of a token")
    depth: int = Field(12, ge=1, description="transformer blocks")
    heads: int = Field(3, ge=1)
    mlp_ratio: float = Field(4.0, gt=0)
    qkv_bias: bool = Field(True, description="False in Point-MAE")
    conv_bias: bool = Field(False, description="bias before batch norm in the tokenizer; True in Point-MAE")
    reduce_from: int = Field(
        0, ge=0, description="width of the tokenizer before a linear map to d; 0 without (256 in Point-BERT)"
    )
    cls_token: bool = Field(False, description="a learned token in the encoder too (Point-BERT)")
    labels: tuple[str, ...] = Field((), description="classes of the head, if there is one")
    head_hidden: int = Field(0, ge=0, description="channels of the head's hidden layer; 0: it is linear")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TeacherConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    @model_validator(mode="after")
    def _groups_fit_a_cloud(self) -> TeacherConfig:
        spec = self.preprocessing
        for name, count in (("groups", spec.groups), ("group_size", spec.group_size)):
            if count > spec.points:
                raise ValueError(f"{name} {count} exceeds the {spec.points} points of a cloud")
        return self


HEAD_FIELDS = ("labels", "head_hidden")
"""Fields of a `TeacherConfig` that say nothing of its features."""
VIT_TI = TeacherConfig(width=192, depth=12, heads=3)
VIT_S = TeacherConfig(width=384, depth=12, heads=6)


class CompressedConfig(BaseModel):
    """What the configs of students and baselines share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    teacher: TeacherConfig = VIT_TI
    teacher_sha256: str = Field("", description="of the encoder that it was distilled from")
    tokenizer: TokenizerKind = Field("full", description="the teacher's own, or a light one that is learned")
    lite_width: int = Field(64, ge=4, description="h, width of the first layer of the light tokenizer")


class AllTokenConfig(CompressedConfig):
    """What the configs of models share that run some of the teacher's blocks on all c tokens."""

    mlp_ratio: float | None = Field(
        None, gt=0, description="hidden width of the MLPs on all c tokens, over d; None: the teacher's"
    )

    @property
    def all_token_mlp_ratio(self) -> float:
        """Hidden width of the MLPs on all tokens, over d."""
        return self.mlp_ratio or self.teacher.mlp_ratio

    @model_validator(mode="after")
    def _mlp_fits(self) -> AllTokenConfig:
        teacher, ratio = self.teacher, self.all_token_mlp_ratio
        if not 1 <= int(teacher.width * ratio) <= teacher.width * teacher.mlp_ratio:
            most = f"{teacher.mlp_ratio:g}"
            raise ValueError(f"mlp_ratio is at most the teacher's {most} and leaves a unit, got {ratio:g}")
        return self


class StudentConfig(AllTokenConfig):
    """A student of one teacher that encodes s tokens instead of c (Foundry, arXiv 2511.20721).

    With the defaults it is the SuperToken student; ``method`` names another way from c tokens to s.
    """

    kind: Literal["student"] = "student"
    tokens: tuple[int, ...] = Field((1, 2, 4, 8, 16), min_length=1, description="budgets: SuperTokens s")
    method: str = Field("dso", description="from c tokens to s: a name in foundry_edge.models.reducers")
    query: Query = Field("anchored", description="how DSO's queries are formed")
    mixing_blocks: int = Field(0, ge=0, description="leading teacher blocks that run on all c tokens")
    attention_blocks: int = Field(
        0, ge=0, description="the blocks after them that run on all c tokens too, without their MLP"
    )
    depth: int | None = Field(None, ge=1, description="blocks on the SuperTokens; None: all that are left")
    routing: Routing = Field("hard", description="CAU's router: the assignment, or a softmax of its logits")
    residual: Residual = Field(
        "mapped", description="what CAU adds: a map of each token, or the token itself"
    )
    cau_mlp: bool = Field(True, description="whether CAU ends in an MLP on all tokens, as in the paper")
    gate: bool = Field(False, description="Foundry-Gate: a token may bypass DSO")

    @property
    def encoder_depth(self) -> int:
        """Blocks that run on the SuperTokens."""
        return self.depth or self.teacher.depth - self.all_token_blocks

    @property
    def all_token_blocks(self) -> int:
        """Blocks that run on all c tokens, whole or without their MLP."""
        return self.mixing_blocks + self.attention_blocks

    @model_validator(mode="after")
    def _tokens_fit(self) -> StudentConfig:
        groups = self.teacher.preprocessing.groups
        if any(not 1 <= s <= groups for s in self.tokens) or list(self.tokens) != sorted(set(self.tokens)):
            raise ValueError(f"tokens must be ascending, distinct and within 1..{groups}, got {self.tokens}")
        return self

    @model_validator(mode="after")
    def _blocks_fit(self) -> StudentConfig:
        left = self.teacher.depth - self.all_token_blocks
        if left < 1 or self.encoder_depth > left:
            raise ValueError(
                f"mixing_blocks {self.mixing_blocks}, attention_blocks {self.attention_blocks} and depth "
                f"{self.depth} exceed the teacher's {self.teacher.depth} blocks"
            )
        return self


def checked(kind: type[Config], **values: Any) -> Config:
    """``kind(**values)`` for values that a user gave.

    Raises:
        InputError: a value is out of range; the message names the option.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        problem = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise InputError(_with_options(problem, kind), remedy="see --help") from error
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise InputError(f"{problem}, got {first['input']!r}", where=option, remedy="see --help") from error


def _with_options(problem: str, kind: type[BaseModel]) -> str:
    """A problem of several fields, told by the names of their options ("the teacher's" is no field)."""
    fields = rf"\b({'|'.join(kind.model_fields)})\b(?!')"
    return re.sub(fields, lambda found: "--" + found[0].replace("_", "-"), problem)
