"""The one table of an export, as text: what a terminal, Markdown and HTML all show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foundry_edge_export.gates import ACCURACY_DROP, ACCURACY_DROP_MOST

COLUMNS = ("rung", "size MB", "MMACs", "parity", "teacher", "head %", "CPU ms", "gates")
TEXT = frozenset({"rung", "parity", "gates"})
"""Columns that hold no single number."""

Record = Mapping[str, Any]


def row(rung: Record) -> tuple[str, ...]:
    """The cells of one rung, a record of `ExportReport.as_dict`."""
    size, fidelity, accuracy = rung["bytes"], rung["fidelity"], rung["accuracy"]
    return (
        rung["name"],
        f"{_megabytes(size['graph'])}+{_megabytes(size['weights'])}" if size["graph"] else "-",
        f"{sum(rung['macs'].values()) / 1e6:.0f}",
        _parity(rung),
        f"{fidelity['cosine_mean']:.4f}" if fidelity else "-",
        f"{accuracy['value']:.1f}" if accuracy else "-",
        f"{rung['cpu_ms']['p50']:.1f}" if rung["cpu_ms"] else "-",
        _gates(rung["gates"]),
    )


def legend(rungs: Sequence[Record]) -> list[str]:
    """What the columns mean, one line each."""
    lines = [
        "size: graph + weights file, which all rungs of a precision share",
        "parity: fp32, largest difference from torch; others, cosine to fp32, mean / worst cloud",
    ]
    fidelity = next((rung["fidelity"] for rung in rungs if rung["fidelity"]), None)
    if fidelity:
        lines.append(f"teacher: mean token cosine to it, {fidelity['samples']} clouds of {fidelity['data']}")
    lines += _accuracy_lines(rungs) + _judged_lines(rungs)
    if any(rung["cpu_ms"] for rung in rungs):
        lines.append("CPU ms: ONNX Runtime's CPU provider here, one cloud, median, without grouping")
    if any(rung["made_for"] == "gpu" for rung in rungs):
        lines.append("fp16 and int8-fp16 are made for GPUs and not timed: a CPU casts around every operator")
    return lines + _coverage_lines(rungs)


def part_lines(parts: Record | None) -> list[str]:
    """The head for parts: what it names, what it costs and what was measured, one line each."""
    if parts is None:
        return []
    total = parts["macs"]["cloud"] + 1024 * parts["macs"]["point"]
    lines = [
        f"parts: {parts['parts']} of {parts['categories']} categories, {parts['parity']['max_abs']:.1e} from "
        f"torch, {total / 1e6:.0f} MMACs for 1024 points"
    ]
    figures = [
        f"{name} {one['instance_miou']:.1f} / {one['class_miou']:.1f}"
        for name, one in parts["quality"].items()
    ]
    if not figures:
        return [*lines, "parts, mIoU: not measured; give --parts-data"]
    first = next(iter(parts["quality"].values()))
    about = f"{first['samples']} shapes of {first['data']}, category given"
    return [*lines, f"parts, mIoU over shapes / over categories, {about}: {', '.join(figures)}"]


def _accuracy_lines(rungs: Sequence[Record]) -> list[str]:
    accuracy = next((rung["accuracy"] for rung in rungs if rung["accuracy"]), None)
    if accuracy is None:
        return []
    lines = [f"head: its accuracy, {accuracy['samples']} clouds of {accuracy['data']}"]
    if any(rung["accuracy_drop_allowed"] for rung in rungs):
        cloud = 100 / accuracy["samples"]
        most = f", but no more than {ACCURACY_DROP_MOST:g} points" if cloud > ACCURACY_DROP_MOST else ""
        lines.append(
            f"accuracy gate: INT8 may lose {ACCURACY_DROP} points, or one cloud ({cloud:.2f}) if that is "
            f"more{most}"
        )
    return lines


def _judged_lines(rungs: Sequence[Record]) -> list[str]:
    """Over which clouds the gates of the lower precisions were judged."""
    sets = [rung["evaluation"] for rung in rungs if rung["evaluation"] and rung["precision"] != "fp32"]
    judged = dict.fromkeys(f"{one['samples']} clouds of {one['data']}" for one in sets)
    return [f"gates of fp16 and int8: judged over {', '.join(judged)}"] if judged else []


def _coverage_lines(rungs: Sequence[Record]) -> list[str]:
    """Whether more calibration clouds would have widened the ranges."""
    calibrated = [rung for rung in rungs if rung["calibration"]]
    if not calibrated:
        return []
    growing = [
        f"{r['name']} {r['calibration']['growing']} of {r['calibration']['tensors']}" for r in calibrated
    ]
    return [
        f"ranges that still grew by over 1 % in the last quarter of calibration clouds: {', '.join(growing)}"
    ]


def _parity(rung: Record) -> str:
    parity = rung["parity"]
    if rung["precision"] == "fp32":
        return f"{parity['max_abs']:.1e}"
    return f"{parity['cosine_mean']:.5f}/{parity['cosine_worst']:.4f}"


def _gates(gates: Mapping[str, bool]) -> str:
    failed = [name for name, passed in gates.items() if not passed]
    return f"failed: {', '.join(failed)}" if failed else "passed"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}"
