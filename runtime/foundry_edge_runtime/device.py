"""What this machine is, as far as latency depends on it."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
_NVIDIA = Path("/proc/driver/nvidia/gpus")
_NODES = (Path("/dev/nvidia0"), Path("/dev/nvhost-gpu"), Path("/dev/dxg"))  # the last is that of WSL 2
_BOARD = Path("/proc/device-tree/model")
_STATUS = Path("/proc/self/status")
_MEMORY = Path("/proc/meminfo")


def usable_cpus() -> int:
    """CPUs this process may use: the affinity mask, and the container's quota when there is one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(_CGROUP_LIMIT).partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        allowed = min(allowed, math.ceil(int(quota) / int(period)))
    return max(allowed, 1)


def cpu_model() -> str:
    """The CPU's name, "unknown" when the system does not tell."""
    lines = (line.partition(":") for line in _read(Path("/proc/cpuinfo")).splitlines())
    names = {key.strip().lower(): value.strip() for key, _, value in lines}
    return names.get("model name") or names.get("hardware") or platform.processor() or "unknown"


def multiplies_in_bfloat16() -> bool:
    """Whether this is an Arm CPU under Linux with the instructions for bfloat16 products (FEAT_BF16)."""
    words = _read(Path("/proc/cpuinfo")).split()
    return platform.machine().lower() in ("aarch64", "arm64") and "bf16" in words


def gpus() -> list[str]:
    """NVIDIA GPUs that the driver shows; empty without a driver. Nothing is loaded or started."""
    found = sorted(_NVIDIA.glob("*/information")) if _NVIDIA.is_dir() else []
    lines = [line for path in found for line in _read(path).splitlines()]
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return models or ([board()] if "NVIDIA" in board() else [])


def gpu_present() -> bool:
    """Whether there may be an NVIDIA GPU that this process may use; nothing is loaded or started."""
    return not _gpus_hidden() and (bool(gpus()) or any(node.exists() for node in _NODES))


def _gpus_hidden() -> bool:
    """Whether $CUDA_VISIBLE_DEVICES names no GPU: CUDA reads its list up to the first entry that is none."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    return not (first.isdecimal() or first.startswith(("GPU-", "MIG-")))


def board() -> str:
    """The board's name on embedded Linux, "" elsewhere."""
    return _read(_BOARD).rstrip("\0\n")


def device() -> dict[str, str]:
    """What identifies this device in a profile."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": cpu_model(),
        "cpus": str(usable_cpus()),
        "gpus": ", ".join(gpus()),
        "board": board(),
    }


def resident_mb(peak: bool = False) -> float | None:
    """Resident memory of this process in MiB, or its peak; None where the system does not tell."""
    field = "VmHWM:" if peak else "VmRSS:"
    values = [line.split()[1] for line in _read(_STATUS).splitlines() if line.startswith(field)]
    return int(values[0]) / 1024 if values else None


def available_memory() -> int:
    """Bytes that can be taken without swapping: Linux's MemAvailable, elsewhere half of what is built in."""
    values = [line.split()[1] for line in _read(_MEMORY).splitlines() if line.startswith("MemAvailable:")]
    return int(values[0]) * 1024 if values else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # not every system has it; callers have their own answer for that
