"""Temperature and power, where the kernel or NVIDIA's driver tells; None elsewhere.

Sources: Documentation/ABI/testing/sysfs-class-thermal (``temp`` in millidegrees Celsius) and
Documentation/hwmon/sysfs-interface.rst (``power*_input`` in microwatts, ``in*_input`` in millivolts,
``curr*_input`` in milliamperes). A Jetson's INA3221 shows the whole board's input as one channel, or, on an
AGX Orin, the module's three supplies. NVML (package nvidia-ml-py, if installed) tells of a GPU of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from foundry_edge_runtime.device import gpus

_THERMAL = Path("/sys/class/thermal")
_HWMON = Path("/sys/class/hwmon")
_BOARD_INPUTS = ("VDD_IN", "VIN", "POM_5V_IN")
_AGX_SUPPLIES = {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}


def temperature_c() -> float | None:
    """The hottest thermal zone or GPU in degrees Celsius."""
    zones = [_number(path) for path in sorted(_THERMAL.glob("thermal_zone*/temp"))]
    known = [value / 1e3 for value in zones if value is not None]
    known += _nvml(lambda nvml, gpu: float(nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)))
    return max(known) if known else None


def power_w() -> float | None:
    """What is drawn, in watts: by the board if it has a sensor of its input, else by the thirstiest part."""
    channels = dict(_channels())
    for label in _BOARD_INPUTS:
        if label in channels:
            return channels[label]
    if channels.keys() >= _AGX_SUPPLIES:
        return sum(channels[label] for label in _AGX_SUPPLIES)
    sensors = [_number(path) for path in sorted(_HWMON.glob("hwmon*/power*_input"))]
    known = [value / 1e6 for value in sensors if value is not None]
    known += _nvml(lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3)
    return max(known) if known else None


def _channels() -> Iterator[tuple[str, float]]:
    """Label and watts of each channel that has voltage and current."""
    for label in sorted(_HWMON.glob("hwmon*/in*_label")):
        channel = label.name.removeprefix("in").removesuffix("_label")
        volts = _number(label.with_name(f"in{channel}_input"))
        amperes = _number(label.with_name(f"curr{channel}_input"))
        if volts is not None and amperes is not None:
            yield _text(label), volts * amperes / 1e6


def _nvml(ask: Callable[[Any, Any], float]) -> list[float]:
    """What NVML answers for each GPU; nothing where there is no GPU, no NVML, or no answer.

    Args:
        ask: gets the module and a handle.
    """
    if not gpus():
        return []
    try:
        nvml: Any = import_module("pynvml")
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    try:
        return [
            value
            for index in range(nvml.nvmlDeviceGetCount())
            if (value := _answer(nvml, index, ask)) is not None
        ]
    finally:
        nvml.nvmlShutdown()


def _answer(nvml: Any, index: int, ask: Callable[[Any, Any], float]) -> float | None:
    try:
        return ask(nvml, nvml.nvmlDeviceGetHandleByIndex(index))
    except nvml.NVMLError:
        return None  # a Jetson's NVML does not know its power, and a GPU may be another user's


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""  # a sensor may be asleep or not readable by this user: it then tells nothing


def _number(path: Path) -> float | None:
    text = _text(path)
    return float(text) if text.lstrip("-").isdigit() else None
