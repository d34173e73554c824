"""Clipping thresholds of a graph, found once: kept in the user's cache under all that decides them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from foundry_edge_calibration.clouds import Clouds
from foundry_edge_calibration.ranges import Coverage, observe
from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.errors import StorageError
from foundry_edge_runtime.files import write_text
from foundry_edge_runtime.versions import versions

FORMAT = 1
Notify = Callable[[str], None]


@dataclass(frozen=True)
class Ranges:
    """What calibration found.

    Attributes:
        thresholds: tensor name -> clipping threshold.
        coverage: whether more clouds would still widen them.
        cached: whether they were read from the cache.
    """

    thresholds: dict[str, float]
    coverage: Coverage
    cached: bool = False


class _Entry(BaseModel):
    """A file of the cache."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    key: str
    thresholds: dict[str, float]
    tensors: int
    growing: int
    largest_growth: float
    sha256: str

    @model_validator(mode="after")
    def _whole(self) -> _Entry:
        if self.sha256 != self.digest():
            raise ValueError("the content is not what was written")
        return self

    def digest(self) -> str:
        """SHA-256 of everything but itself."""
        content = self.model_dump(exclude={"sha256"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def calibrate(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    clouds: Clouds,
    method: str,
    budget: str,
    notify: Notify = lambda line: None,
    advance: Callable[[int], None] = lambda clouds: None,
) -> Ranges:
    """Clipping thresholds of ``tensors`` by one of `METHODS`, from the cache where they are known.

    Args:
        model: FP32, weights inside.
        tensors: activations to be quantised.
        clouds: to calibrate on.
        method: a name in `METHODS`.
        budget: name of the SuperToken budget.
        notify: told in one line of a damaged entry, or of a cache that cannot be written.
        advance: told how many clouds more were run.

    Raises:
        DataError: an activation is not finite.
    """
    key = cache_key(model, clouds, method, budget)
    path = cache_folder() / "ranges" / f"{key[:32]}.json"
    known = _read(path, key, notify)
    if known is not None and set(tensors) <= set(known.thresholds):
        return known
    observation = observe(model, tensors, clouds.groups, clouds.centers, advance)
    found = Ranges(observation.ranges(method), observation.coverage)
    _write(path, key, found, notify)
    return found


def cache_key(model: onnx.ModelProto, clouds: Clouds, method: str, budget: str) -> str:
    """Hash of weights and graph, data, method, budget, and what computes the ranges."""
    parts = {
        "format": FORMAT,
        "model": hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest(),
        "data": clouds.sha256,
        "method": method,
        "budget": budget,
        "versions": list(versions(("foundry-edge", "onnxruntime")).values()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _read(path: Path, key: str, notify: Notify) -> Ranges | None:
    """The ranges stored at ``path``; None, and a line, when it is damaged."""
    try:
        entry = _Entry.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError):
        entry = None
    if entry is None or entry.key != key:
        notify(f"the stored calibration ranges {path.name} are damaged and are found anew")
        return None
    return Ranges(entry.thresholds, Coverage(entry.tensors, entry.growing, entry.largest_growth), cached=True)


def _write(path: Path, key: str, found: Ranges, notify: Notify) -> None:
    coverage = found.coverage
    entry = _Entry.model_construct(
        key=key,
        thresholds=found.thresholds,
        tensors=coverage.tensors,
        growing=coverage.growing,
        largest_growth=coverage.largest_growth,
        sha256="",
    )
    whole = entry.model_copy(update={"sha256": entry.digest()})
    try:
        write_text(path, whole.model_dump_json(indent=1) + "\n")
    except StorageError as error:
        notify(f"the calibration ranges are not kept: {error}")
