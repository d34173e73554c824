"""Temperature and power from a sysfs tree, as boards lay it out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from foundry_edge_runtime import sensors


class NVMLError(Exception):
    """Of NVML."""


class Nvml:
    """pynvml with two GPUs; what is None it does not support."""

    NVMLError, NVML_TEMPERATURE_GPU = NVMLError, 0

    def __init__(self, watts: float | None, degrees: int | None, driver: bool = True) -> None:
        self.watts, self.degrees, self.driver, self.open = watts, degrees, driver, 0

    def nvmlInit(self) -> None:  # noqa: N802 - NVIDIA's names
        if not self.driver:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetTemperature(self, index: int, _sensor: int) -> int:  # noqa: N802
        if self.degrees is None:
            raise NVMLError("Not Supported")
        return self.degrees + index

    def nvmlDeviceGetPowerUsage(self, index: int) -> int:  # noqa: N802
        if self.watts is None:
            raise NVMLError("Not Supported")
        return int(1e3 * (self.watts - index))


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sensors, "_THERMAL", tmp_path / "thermal")
    monkeypatch.setattr(sensors, "_HWMON", tmp_path / "hwmon")
    monkeypatch.setattr(sensors, "gpus", list)
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


def test_supplies_of_an_agx_orin_are_added(sysfs: Path) -> None:
    labels = (("VDD_GPU_SOC", 300), ("VDD_CPU_CV", 200), ("VIN_SYS_5V0", 100), ("NC", 7))
    folder = sysfs / "hwmon" / "hwmon4"
    for channel, (label, amperes) in enumerate(labels, start=1):
        write(folder / f"in{channel}_label", f"{label}\n")
        write(folder / f"in{channel}_input", "20000\n")
        write(folder / f"curr{channel}_input", f"{amperes}\n")
    assert sensors.power_w() == pytest.approx(12.0)
    (folder / "curr2_input").unlink()
    assert sensors.power_w() is None


def test_gpu_of_its_own(sysfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml(watts=71.5, degrees=60)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert (sensors.temperature_c(), sensors.power_w()) == (None, None)
    monkeypatch.setattr(sensors, "gpus", lambda: ["NVIDIA L4"])
    write(sysfs / "thermal" / "thermal_zone0" / "temp", "41500\n")
    assert (sensors.temperature_c(), sensors.power_w()) == (61, 71.5)
    assert nvml.open == 0


@pytest.mark.parametrize("nvml", [None, Nvml(None, None), Nvml(9, 9, driver=False)])
def test_gpu_that_tells_nothing(sysfs: Path, monkeypatch: pytest.MonkeyPatch, nvml: Nvml | None) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(sensors, "gpus", lambda: ["NVIDIA Orin"])
    assert (sensors.temperature_c(), sensors.power_w()) == (None, None)
    assert nvml is None or nvml.open == 0
