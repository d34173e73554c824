"""E57 files (ASTM E2807-11): one scan per data3D entry, in the coordinates of the file.

Unlike PCD's VIEWPOINT, the pose of an E57 scan is what places it in the file, so it is applied.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from foundry_edge_runtime.errors import ScanError
from foundry_edge_runtime.readers.attributes import attributes_of
from foundry_edge_runtime.readers.counts import shorten
from foundry_edge_runtime.readers.e57_pages import read_pages
from foundry_edge_runtime.readers.e57_points import Values, read_fields
from foundry_edge_runtime.readers.e57_scheme import E57Scan, parse_scans
from foundry_edge_runtime.readers.raw import Options, RawCloud
from foundry_edge_runtime.readers.source import ByteArray, Source

_CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
_SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")


def read_scans(source: Source, options: Options) -> Iterator[RawCloud | ScanError]:
    """The scans of a file; one that cannot be read is given as its error."""
    file = read_pages(source)
    scans = parse_scans(source, file.xml)
    if not scans:
        raise source.error("the E57 file lists no scan (no data3D entry): it is empty (no points)")
    if (
        len({scan.offset for scan in scans}) < len(scans)
        or sum(scan.points for scan in scans) > 8 * source.size
    ):
        raise source.error("the E57 scans claim more points than the file can hold, or share their data")
    for scan in scans:
        try:
            yield _scan(source, file.data, scan)
        except ScanError as error:
            yield error


def _scan(source: Source, data: ByteArray, scan: E57Scan) -> RawCloud:
    names = [field.name for field in scan.fields]
    if scan.points == 0:
        raise source.error("recordCount of the E57 points is 0: the scan is empty (no points)")
    if len(set(names)) < len(names):
        raise source.error("the E57 points have a duplicate field")
    axes = next((axes for axes in (_CARTESIAN, _SPHERICAL) if set(axes) <= set(names)), None)
    if axes is None:
        raise source.error(
            f"the E57 points have neither cartesian nor spherical fields: {shorten(' '.join(names))}"
        )
    columns = read_fields(source, data, scan)
    first, second, third = (columns.pop(name).astype(np.float64) for name in axes)
    if axes is _CARTESIAN:
        xyz = np.stack([first, second, third], axis=1)
        invalid = columns.pop("cartesianInvalidState", None)
    else:
        xyz = _from_spherical(first, second, third)
        invalid = columns.pop("sphericalInvalidState", None)
    _mark_invalid(xyz, invalid)
    kept = {name: column for name, column in columns.items() if not name.endswith("InvalidState")}
    return RawCloud("e57", tuple(names), scan.to_file(xyz), attributes_of(kept))


def _mark_invalid(xyz: npt.NDArray[np.float64], state: Values | None) -> None:
    """Points that the scanner marked as invalid become NaN, and are dropped and counted as such."""
    if state is not None:
        xyz[state != 0] = np.nan


def _from_spherical(
    distance: npt.NDArray[np.float64], azimuth: npt.NDArray[np.float64], elevation: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Standard, section 6.3.2: elevation is measured from the xy plane, azimuth from x; radians."""
    flat = distance * np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)], axis=1)
