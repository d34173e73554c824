"""Where a network computes, and in which type."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn


@dataclass(frozen=True)
class Compute:
    """A device, and whether products there are of bfloat16; by default this CPU in float32.

    Attributes:
        device: of this process.
        bf16: autocast to bfloat16.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    bf16: bool = False

    @classmethod
    def of(cls, module: nn.Module) -> Compute:
        """Where ``module`` lies, in bfloat16 if that device has it."""
        device = next(module.parameters()).device
        return cls(device, has_bf16(device.type))

    @property
    def dtype(self) -> torch.dtype:
        """Of products."""
        return torch.bfloat16 if self.bf16 else torch.float32

    def autocast(self) -> torch.autocast:
        """A context in which products are of `dtype`."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def device_of_this_process(accelerator: str) -> torch.device:
    """The device that ``accelerator`` (auto, cpu or cuda) names: of several GPUs the process's own."""
    if accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def has_bf16(device_type: str) -> bool:
    """Whether the CUDA device (``cuda``), or this CPU's instruction set (``cpu``), multiplies in bfloat16."""
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
