"""What is in the wheel, and what is not."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

import pytest

pytestmark = pytest.mark.timeout(600)

PACKAGES = {
    "foundry_edge": "foundry_edge",
    "foundry_edge_export": "export/foundry_edge_export",
    "foundry_edge_calibration": "calibration/foundry_edge_calibration",
    "foundry_edge_runtime": "runtime/foundry_edge_runtime",
}
MOST_ASSETS = 56 * 2**20  # 40 MiB for teacher and bundle, 12 for the student, 4 for the sample set


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def source_files(source: Path) -> set[str]:
    """Every module, kernel, marker and asset of the source tree, by its name in the wheel."""
    found = set()
    for package, folder in PACKAGES.items():
        for path in (source / folder).rglob("*"):
            inside = path.relative_to(source / folder)
            named = path.suffix in {".py", ".cu"} or path.name == "py.typed"
            wanted = named or inside.parts[0] == "assets"
            if path.is_file() and wanted:
                found.add(str(PurePosixPath(package, inside)))
    return found


def test_wheel_top_level_is_exactly_the_four_packages(names: set[str]) -> None:
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)
    assert len(top) == len(PACKAGES) + 1


def test_wheel_holds_every_source_file_and_nothing_else(names: set[str], source_copy: Path) -> None:
    assert {name for name in names if ".dist-info/" not in name} == source_files(source_copy)


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_marks_every_package_as_typed(names: set[str], package: str) -> None:
    assert f"{package}/py.typed" in names


def test_wheel_holds_assets_and_credits(names: set[str]) -> None:
    assert "foundry_edge/assets/furniture.npz" in names
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_assets_stay_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = [info.file_size for info in archive.infolist() if "/assets/" in info.filename]
    assert sum(sizes) <= MOST_ASSETS
