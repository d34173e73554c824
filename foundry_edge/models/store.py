"""Weights on disk: a folder with config.json and model.safetensors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from foundry_edge_runtime.errors import CheckpointError
from foundry_edge_runtime.files import replacing, write_text

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
HEAD = "head."
"""How the names of a classification head's tensors begin."""
Config = TypeVar("Config", bound=BaseModel)


def save_weights(folder: Path, config: BaseModel, module: nn.Module, half: bool = False) -> None:
    """Write ``config`` and the state of ``module``; with ``half``, floats are stored in 16 bits."""
    state = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    with replacing(folder / WEIGHTS) as partial:
        partial.write_bytes(save(state))  # save_file tells a full disk as an error of its own
    write_text(folder / CONFIG, config.model_dump_json(indent=2) + "\n")


def copy_weights(source: Path, folder: Path) -> None:
    """Write a model's config and weights into another folder, byte for byte.

    Raises:
        StorageError: the folder cannot be written.
    """
    for name in (WEIGHTS, CONFIG):
        with replacing(folder / name) as partial:
            partial.write_bytes((source / name).read_bytes())


def load_config(folder: Path, kind: type[Config]) -> Config:
    """Read config.json as ``kind``.

    Raises:
        CheckpointError: it is missing, or a field is not what ``kind`` expects.
    """
    path = folder / CONFIG
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        remedy = "give a folder made by `foundry-edge pretrain` or `foundry-edge distill`"
        raise CheckpointError(f"no {CONFIG} there", where=folder, remedy=remedy) from None
    except IsADirectoryError:
        raise CheckpointError("is a folder, expected a file", where=path, remedy="write it anew") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "(top level)"
        raise CheckpointError(f"field {field}: {first['msg']}", where=path, remedy="write it anew") from error


def load_weights(folder: Path, module: nn.Module) -> None:
    """Load model.safetensors into ``module`` (float32); keys and shapes must match, values be finite.

    Raises:
        CheckpointError: the file is missing, damaged, or of another architecture; or a tensor, which is
            named, holds values that are not finite.
    """
    path = folder / WEIGHTS
    state = {k: v.float() if v.is_floating_point() else v for k, v in _tensors(path).items()}
    _check_finite(state, path)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise _unusable(path, error) from error


def _check_finite(state: dict[str, Tensor], path: Path) -> None:
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"weights are not finite: tensor {name}",
                where=path,
                remedy="train again, or restore the file",
            )


def _tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(
            "the weights are missing", where=path, remedy="export or train them again"
        ) from None
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:200]
    return CheckpointError(f"damaged or of another architecture ({reason})", where=path, remedy="train again")


def encoder_sha256(folder: Path) -> str:
    """SHA-256 of all tensors in model.safetensors but the classification head's, hexadecimal.

    Of names, types, shapes and values; it stays when a model is given another head.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(_tensors(folder / WEIGHTS).items()):
        if not name.startswith(HEAD):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def weights_sha256(folder: Path) -> str:
    """SHA-256 of model.safetensors, hexadecimal."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
