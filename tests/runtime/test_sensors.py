"""Temperature and power from a sysfs tree, as boards lay it out."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_edge_runtime import sensors


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sensors, "_THERMAL", tmp_path / "thermal")
    monkeypatch.setattr(sensors, "_HWMON", tmp_path / "hwmon")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_nothing_shown_is_none(sysfs: Path) -> None:
    assert (sensors.temperature_c(), sensors.power_w()) == (None, None)


def test_hottest_zone(sysfs: Path) -> None:
    for zone, text in enumerate(("41500\n", "-256000\n", "55250\n", "", "broken\n")):
        write(sysfs / "thermal" / f"thermal_zone{zone}" / "temp", text)
    assert sensors.temperature_c() == 55.25


def test_power_sensor(sysfs: Path) -> None:
    write(sysfs / "hwmon" / "hwmon0" / "power1_input", "9500000\n")
    write(sysfs / "hwmon" / "hwmon0" / "power2_input", "1500000\n")
    assert sensors.power_w() == 9.5


def test_board_input_of_a_jetson_comes_first(sysfs: Path) -> None:
    write(sysfs / "hwmon" / "hwmon0" / "power1_input", "99000000\n")
    for channel, (label, volts, amperes) in enumerate(
        (("VDD_CPU", 5000, 400), ("VDD_IN", 19000, 520)), start=1
    ):
        folder = sysfs / "hwmon" / "hwmon3"
        write(folder / f"in{channel}_label", f"{label}\n")
        write(folder / f"in{channel}_input", f"{volts}\n")
        write(folder / f"curr{channel}_input", f"{amperes}\n")
    assert sensors.power_w() == pytest.approx(9.88)
