"""Clouds to calibrate on: the embedded sample set's training side, a data set's, or a folder of scans."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TRAIN, ShapeSet, load_npz
from foundry_edge_calibration.engine import Array
from foundry_edge_runtime.errors import DataError, FoundryEdgeError
from foundry_edge_runtime.grouping import Preprocessing, group_points
from foundry_edge_runtime.readers import find_scans, read_points

FLOOR = 64
DEFAULT_SAMPLES = 256
EMBEDDED_NAME = "embedded samples"


@dataclass(frozen=True)
class Clouds:
    """Grouped clouds.

    Attributes:
        name: what the data are called.
        groups: (M, c, K, 3) float32, relative to their centre.
        centers: (M, c, 3) float32.
        sha256: of groups and centres.
        warnings: one line each, for people.
    """

    name: str
    groups: Array
    centers: Array
    sha256: str
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.groups)


def group_clouds(clouds: Iterable[Array], spec: Preprocessing) -> tuple[Array, Array]:
    """Groups (M, c, K, 3) and centres (M, c, 3), float32, of clouds (N_i, 3)."""
    grouped = [group_points(xyz, spec) for xyz in clouds]
    return np.stack([g.groups for g in grouped]), np.stack([g.centers for g in grouped])


def calibration_clouds(
    source: str | Path | None, spec: Preprocessing, samples: int = DEFAULT_SAMPLES, seed: int = 0
) -> Clouds:
    """Draw up to ``samples`` clouds, without replacement, in a fixed order.

    Args:
        source: None for the embedded sample set; an .npz data set (its training side only); a scan or a
            folder of scans in any format the readers know.
        spec: how points become groups.
        samples: fewer than 64 is warned of.
        seed: of the draw.

    Raises:
        DataError: there is no valid cloud.
    """
    name, drawn, warnings = _draw(source, samples, np.random.default_rng(seed))
    if len(drawn) < FLOOR:
        warnings = [
            *warnings,
            f"only {len(drawn)} calibration clouds; ranges may miss what {FLOOR} or more would show",
        ]
    groups, centers = group_clouds(drawn, spec)
    return Clouds(name, groups, centers, _digest(groups, centers), tuple(warnings))


def leave_out(clouds: Clouds, groups: Array, centers: Array) -> Clouds:
    """The clouds without those that are among others, which are to judge what is calibrated.

    Args:
        clouds: to calibrate on.
        groups: of the others, (M, c, K, 3) float32.
        centers: of the others, (M, c, 3) float32.

    Raises:
        DataError: nothing is left.
    """
    others = {_cloud_digest(*cloud) for cloud in zip(groups, centers, strict=True)}
    mine = [_cloud_digest(*cloud) for cloud in zip(clouds.groups, clouds.centers, strict=True)]
    left = np.array([digest not in others for digest in mine])
    if left.all():
        return clouds
    if not left.any():
        raise DataError(
            "every calibration cloud is an evaluation cloud",
            where=clouds.name,
            remedy="give another --calibration-data",
        )
    warning = f"{int((~left).sum())} calibration clouds are evaluation clouds and were left out"
    kept = (clouds.groups[left], clouds.centers[left])
    return Clouds(clouds.name, *kept, _digest(*kept), (*clouds.warnings, warning))


def _cloud_digest(groups: Array, centers: Array) -> bytes:
    return hashlib.sha256(groups.tobytes() + centers.tobytes()).digest()


def _digest(groups: Array, centers: Array) -> str:
    return hashlib.sha256(groups.tobytes() + centers.tobytes()).hexdigest()


def _draw(
    source: str | Path | None, samples: int, rng: np.random.Generator
) -> tuple[str, Sequence[Array], list[str]]:
    if source is None:
        return f"{EMBEDDED_NAME} (train)", _from_set(load_samples(), samples, rng), []
    path = Path(source)
    if path.suffix == ".npz":
        shapes = load_npz(path)
        return f"{shapes.name} (train)", _from_set(shapes, samples, rng), []
    drawn, warnings = _from_scans(path, samples, rng)
    return path.name, drawn, warnings


def _from_set(shapes: ShapeSet, samples: int, rng: np.random.Generator) -> Sequence[Array]:
    training = shapes.part(TRAIN)
    if not len(training):
        raise DataError(
            "the data set has no training side", where=shapes.name, remedy="give another --calibration-data"
        )
    chosen = np.sort(rng.permutation(len(training))[:samples])
    return list(training.xyz[chosen])


def _from_scans(path: Path, samples: int, rng: np.random.Generator) -> tuple[list[Array], list[str]]:
    if not path.exists():
        raise DataError("no such file or folder", where=path, remedy="give another --calibration-data")
    paths = find_scans(path) if path.is_dir() else [path]
    drawn: list[Array] = []
    failed: list[str] = []
    for index in rng.permutation(len(paths)):
        if len(drawn) == samples:
            break
        try:
            drawn.append(read_points(paths[index]).xyz)
        except FoundryEdgeError as error:
            failed.append(str(error))
    if not drawn:
        reason = f": {failed[0]}" if failed else ""
        raise DataError(f"no valid cloud{reason}", where=path, remedy="give another --calibration-data")
    return drawn, [f"{len(failed)} calibration scans were skipped, the first: {failed[0]}"] if failed else []
