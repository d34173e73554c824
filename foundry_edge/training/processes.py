"""Several processes, on one machine or many, started by torchrun or ``fabric run``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from lightning.fabric import Fabric
from torch import Tensor, distributed, nn

from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import EnvironmentFault, InputError


def process_count() -> int:
    """Processes of this run, over all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def is_main_process() -> bool:
    """Whether this process writes files and reports."""
    return process_rank() == 0


def check_device(settings: TrainSettings) -> None:
    """Before anything is read or written.

    Raises:
        EnvironmentFault: CUDA is asked for, and torch finds none.
    """
    if settings.accelerator == "cuda" and not torch.cuda.is_available():
        raise EnvironmentFault(
            "torch finds no CUDA device", where="--accelerator cuda", remedy="use --accelerator auto or cpu"
        )


def check_alone(what: str) -> None:
    """Refuse to share among processes what is not made for it.

    Raises:
        InputError: torchrun started several processes.
    """
    if process_count() > 1:
        raise InputError(
            f"runs in one process, and there are {process_count()}",
            where=what,
            remedy="start it without torchrun",
        )


def launch(settings: TrainSettings) -> Fabric:
    """A launched Fabric over the processes that torchrun started; one process without torchrun.

    Raises:
        InputError: the batch cannot be shared evenly among the processes.
        EnvironmentFault: see `check_device`.
    """
    check_device(settings)
    count = process_count()
    if settings.batch % count:
        raise InputError(
            f"a batch of {settings.batch} cannot be shared among {count} processes",
            where="--batch",
            remedy=f"use a multiple of {count}",
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    strategy: Literal["ddp", "auto"] = "ddp" if count > 1 else "auto"
    fabric = Fabric(
        accelerator=settings.compute.device.type,
        devices=here,
        num_nodes=count // here,
        strategy=strategy,
        precision=settings.fabric_precision,
    )
    fabric.launch()
    return fabric


@dataclass(frozen=True)
class Share:
    """The rows of a batch that this process works on.

    Attributes:
        rows: of the whole batch.
        total: clouds in the whole batch.
    """

    rows: slice
    total: int

    @classmethod
    def of_this_process(cls, total: int) -> Share | None:
        """An equal share of ``total`` rows; None when there is one process."""
        count = process_count()
        if count == 1:
            return None
        size = total // count
        if size * count != total:
            raise InputError(
                f"{total} clouds cannot be shared evenly among {count} processes",
                where="--batch",
                remedy="use a smaller batch, or fewer processes",
            )
        first = process_rank() * size
        return cls(slice(first, first + size), total)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over the processes (losses are means over equal shares)."""
    if process_count() == 1:
        return
    held = [p for p in parameters if p.grad is not None]
    flat = torch.cat([p.grad.flatten() for p in held if p.grad is not None])
    distributed.all_reduce(flat)
    flat /= process_count()
    for parameter, part in zip(held, flat.split([p.numel() for p in held]), strict=True):
        parameter.grad = part.view_as(parameter)


def gathered(rows: Tensor) -> Tensor:
    """Rows (B, ...) of all processes in order, (P * B, ...), without gradient; ``rows`` when alone."""
    if process_count() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(process_count())]
    distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of ``value`` over all processes, without gradient."""
    if process_count() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / process_count()


def wait_for_all() -> None:
    """Return when every process has come here."""
    if process_count() > 1:
        distributed.barrier()
