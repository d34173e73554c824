"""The GPU at hand, in the words that plans are keyed on."""

from __future__ import annotations

import re
from pathlib import Path

from foundry_edge_runtime.plans.manifest import PlanDevice

_DRIVER = Path("/proc/driver/nvidia/version")
_TEGRA = Path("/etc/nv_tegra_release")
_VERSION = re.compile(r"\b\d{3,}\.\d+(?:\.\d+)?\b")


def device_of(name: str, compute_capability: tuple[int, int], cuda: int) -> PlanDevice:
    """What plans of a GPU are keyed on.

    Args:
        name: as the driver gives it.
        compute_capability: (8, 7).
        cuda: version of CUDA that the driver supports, as ``cuDriverGetVersion`` gives it: 12060.
    """
    return PlanDevice(
        gpu=name,
        compute_capability=(".".join(map(str, compute_capability)),),
        driver=driver_version(),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}",
    )


def driver_version() -> str:
    """The NVIDIA driver's version; of a Jetson without one of its own, the line that names its release."""
    for path, pattern in ((_DRIVER, _VERSION), (_TEGRA, re.compile(r"R\d+ .*?REVISION: [\d.]+"))):
        try:
            found = pattern.search(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue  # not this kind of system
        if found:
            return found.group()
    return "unknown"
