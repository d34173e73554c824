from __future__ import annotations

from pathlib import Path

import pytest

from foundry_edge_runtime.plans import device, device_of

RELEASE = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n"
VERSION = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\nGCC version: 11.4.0\n"
)


@pytest.mark.parametrize(
    ("driver", "tegra", "expected"),
    [
        (VERSION, None, "540.4.0"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n", RELEASE, "580.65.06"),
        (None, RELEASE, "R36 (release), REVISION: 4.3"),
        (None, None, "unknown"),
    ],
)
def test_the_driver_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str | None, tegra: str | None, expected: str
) -> None:
    for name, text in (("_DRIVER", driver), ("_TEGRA", tegra)):
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        monkeypatch.setattr(device, name, path)
    found = device_of("Orin", (8, 7), 12060)
    assert (found.gpu, found.compute_capability, found.cuda) == ("Orin", ("8.7",), "12.6")
    assert found.driver == expected
    assert not found.ahead
