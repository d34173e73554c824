"""Settings of a training run; dumped as settings.json beside its result."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainSettings(BaseModel):
    """Optimisation settings shared by pre-training and distillation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(1000, ge=1, description="optimiser steps")
    batch: int = Field(32, ge=1, description="clouds per step")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine")
    weight_decay: float = Field(0.05, ge=0)
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps with a rising rate")
    clip: float = Field(5.0, gt=0, description="largest gradient norm")
    seed: int = Field(0, ge=0)
    precision: Literal["32-true", "bf16-mixed"] = Field("bf16-mixed", description="Lightning Fabric's name")
    accelerator: str = Field("auto", description="Lightning Fabric's name: auto, cpu, cuda")
    checkpoint_every: int = Field(200, ge=1, description="steps between checkpoints")
    log_every: int = Field(20, ge=1, description="steps between log rows")
