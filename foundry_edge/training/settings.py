"""Settings of a training run; dumped as settings.json beside its result."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from foundry_edge.training.compute import Compute, device_of_this_process, has_bf16
from foundry_edge_runtime.files import write_text


class TrainSettings(BaseModel):
    """Optimisation settings shared by pre-training and distillation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(1000, ge=1, description="optimiser steps")
    batch: int = Field(32, ge=1, description="clouds per step")
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False, description="peak of the cosine")
    weight_decay: float = Field(0.05, ge=0)
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps with a rising rate")
    beta2: float = Field(0.95, gt=0, lt=1, description="AdamW's memory of squared gradients")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights that are kept; 0 is off")
    clip: float = Field(5.0, gt=0, description="largest gradient norm")
    seed: int = Field(0, ge=0)
    precision: Literal["auto", "32-true", "bf16-mixed"] = Field("auto", description="Lightning Fabric's name")
    accelerator: Literal["auto", "cpu", "cuda"] = Field("auto", description="Lightning Fabric's name")
    checkpoint_every: int = Field(200, ge=1, description="steps between checkpoints")
    log_every: int = Field(20, ge=1, description="steps between log rows")

    def recipe(self) -> dict[str, object]:
        """What decides the weights: all but how often to log and to save."""
        return self.resolved().model_dump(exclude={"checkpoint_every", "log_every", "accelerator"})

    def extends(self, written: TrainSettings, done: int) -> bool:
        """Whether these are the settings ``written`` of a finished run, but for a larger number of steps."""
        longer = written.model_copy(update={"steps": self.steps})
        return done == written.steps < self.steps and longer.recipe() == self.recipe()

    @property
    def fabric_precision(self) -> Literal["32-true", "bf16-mixed"]:
        """``precision`` for Lightning Fabric."""
        return "bf16-mixed" if self.compute.bf16 else "32-true"

    @property
    def compute(self) -> Compute:
        """Where and in which type this process trains."""
        return Compute(device_of_this_process(self.accelerator), self.resolved().precision == "bf16-mixed")

    def resolved(self) -> TrainSettings:
        """The same settings with ``precision="auto"`` replaced: bf16 where the device has it."""
        if self.precision != "auto":
            return self
        bf16 = has_bf16(device_of_this_process(self.accelerator).type)
        return self.model_copy(update={"precision": "bf16-mixed" if bf16 else "32-true"})


def write_settings(folder: Path, settings: TrainSettings) -> None:
    """Write settings.json, of a run that has begun or gone on with them.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_text(folder / "settings.json", settings.model_dump_json(indent=2) + "\n")
