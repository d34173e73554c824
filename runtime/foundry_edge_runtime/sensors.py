"""Temperature and power of the board, where the kernel shows them (Linux sysfs); None elsewhere.

Sources: Documentation/ABI/testing/sysfs-class-thermal (``temp`` in millidegrees Celsius) and
Documentation/hwmon/sysfs-interface.rst (``power*_input`` in microwatts, ``in*_input`` in millivolts,
``curr*_input`` in milliamperes). A Jetson's INA3221 shows the whole board's input as the channel ``VDD_IN``.
"""

from __future__ import annotations

from pathlib import Path

_THERMAL = Path("/sys/class/thermal")
_HWMON = Path("/sys/class/hwmon")
_BOARD_INPUT = "VDD_IN"


def temperature_c() -> float | None:
    """The hottest thermal zone in degrees Celsius."""
    zones = [_number(path) for path in sorted(_THERMAL.glob("thermal_zone*/temp"))]
    known = [value for value in zones if value is not None]
    return max(known) / 1e3 if known else None


def power_w() -> float | None:
    """What the board draws, in watts: its input channel if it has one, else the largest power sensor."""
    for label in sorted(_HWMON.glob("hwmon*/in*_label")):
        if _text(label) == _BOARD_INPUT:
            channel = label.name.removeprefix("in").removesuffix("_label")
            volts = _number(label.with_name(f"in{channel}_input"))
            amperes = _number(label.with_name(f"curr{channel}_input"))
            if volts is not None and amperes is not None:
                return volts * amperes / 1e6
    sensors = [_number(path) for path in sorted(_HWMON.glob("hwmon*/power*_input"))]
    known = [value for value in sensors if value is not None]
    return max(known) / 1e6 if known else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""  # a sensor may be asleep or not readable by this user: it then tells nothing


def _number(path: Path) -> float | None:
    text = _text(path)
    return float(text) if text.lstrip("-").isdigit() else None
