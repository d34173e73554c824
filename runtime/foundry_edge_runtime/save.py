"""`--save`: what was computed for a scan, in one npz file."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.readers.uri import absolute, name_of
from foundry_edge_runtime.result import Result


def feature_file(
    source: str, folder: Path, root: Path | None = None, scan: int | None = None, suffix: str = ".npz"
) -> Path:
    """Where the features of a scan go.

    Args:
        source: the scan's name, "-" for standard input.
        folder: what `--save` names.
        root: the folder the scan was found in; its subfolders are kept. Without it a scan of a list
            gets a hash of its path, so that equal names in different folders do not meet.
        scan: the number of the scan, where the source holds several.
        suffix: what the file ends in.
    """
    end = suffix if scan is None else f".{scan:06d}{suffix}"
    if root is not None:
        return folder / f"{os.path.relpath(source, root)}{end}"
    digest = hashlib.sha256(os.fsencode(absolute(source))).hexdigest()[:8]
    return folder / f"{name_of(source).strip('-') or 'stdin'}-{digest}{end}"


def save_features(result: Result, path: Path, *, per_point: bool = False) -> Result:
    """Write ``tokens`` (c, d), ``centers`` (c, 3), ``global`` (2d,) and, with a head, ``logits`` atomically.

    All are float32; centres are in normalised coordinates. Where parts were asked for, ``part`` (N,) int32
    indexes ``part_names``. With ``per_point`` the features and colours of
    every point are written beside it (see `save_points`).

    Returns:
        The result, with ``saved`` and ``points`` set.

    Raises:
        StorageError: the disk is full or the folder cannot be written; an older file is left as it was.
    """
    arrays: dict[str, Any] = {"tokens": result.tokens, "centers": result.centers, "global": result.pooled}
    if result.logits is not None:
        arrays["logits"] = result.logits
    if result.parts is not None:
        arrays |= {"part": result.parts.part, "part_names": np.array(result.parts.names)}
    with replacing(path) as partial, partial.open("wb") as stream:
        np.savez(stream, **arrays)
    if not per_point:
        return replace(result, saved=path)
    from foundry_edge_runtime.point_files import save_points  # noqa: PLC0415 - rarely needed

    return replace(result, saved=path, points=save_points(result, path))
