"""docs/performance.md and its plot: the parts between marks are made from the JSON of the benchmarks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.comparing.contenders import BASELINE
from benchmarks.comparing.plot import plot_objects
from foundry_edge_runtime.files import write_text

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.png"
MARK = re.compile(r"(<!-- from (?P<name>\w+)\.json -->\n).*?(<!-- end -->)", re.DOTALL)
Record = dict[str, Any]


def write_document(document: Path = DOCUMENT, results: Path = RESULTS, plot: Path = PLOT) -> None:
    """Fill every marked part of the document from the results at hand, and draw the plot."""

    def part(match: re.Match[str]) -> str:
        path = results / f"{match['name']}.json"
        return f"{match[1]}\n{_made(match['name'], path)}\n\n{match[3]}"

    write_text(document, MARK.sub(part, document.read_text(encoding="utf-8")))
    compared = results / "compare.json"
    if compared.exists():
        plot_objects(json.loads(compared.read_text(encoding="utf-8"))["rows"], plot)


def _made(name: str, path: Path) -> str:
    if not path.exists():
        return f"Not measured yet: `python -m benchmarks.{name}`."
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    return f"{_PARTS[name](record)}\n\n{_origin(record)}"


def _origin(record: Record) -> str:
    device = ", ".join(str(value) for value in record["device"].values() if value)
    load = f"load average {record['load_average']:.1f} when it ended"
    return f"Measured by `{record['command']}` on {record['measured'][:10]}: {device}; {load}."


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _compare(record: Record) -> str:
    objects = [row for row in record["rows"] if row["workload"] == "object"]
    picture = "![Speed against the naive teacher over multiply-accumulates](performance.png)"
    parts = [_targets(record["rows"]), picture]
    for batch in dict.fromkeys(row["batch"] for row in objects):
        rows = [row for row in objects if row["batch"] == batch]
        parts.append(
            f"Objects, batch {batch} ({record['size']}, {record['threads']} threads):\n\n{_rows(rows)}"
        )
    scenes = [row for row in record["rows"] if row["workload"] != "object"]
    if scenes:
        parts.append(f"Scenes:\n\n{_rows(scenes, scene=True)}")
    if record["left_out"]:
        parts.append("\n".join(f"Left out: {name} ({why})." for name, why in record["left_out"].items()))
    return "\n\n".join(parts)


def _rows(rows: list[Record], scene: bool = False) -> str:
    first = ["scene", "what"] if scene else ["what"]
    body = []
    for row in rows:
        macs = "" if row["macs"] is None else f"{row['macs'] / 1e6:,.0f}"
        memory = "" if row["peak_rss_mb"] is None else f"{row['peak_rss_mb']:,.0f}"
        ratio = "" if row["ratio_to_teacher"] is None else f"{row['ratio_to_teacher']:.2f}"
        name = [row["workload"].removeprefix("scene of "), row["name"]] if scene else [row["name"]]
        body.append([*name, f"{row['ms_min']:,.2f}", f"{row['ms_median']:,.2f}", macs, memory, ratio])
    return table([*first, "ms, least", "ms, median", "MMACs", "peak MiB", "times faster"], body)


def _targets(rows: list[Record]) -> str:
    """What is wanted of the whole way, and of the tokenizer without the grouping, against what was found."""
    at8 = {row["name"]: row for row in rows if row["workload"] == "object" and row["batch"] == 8}
    grouping = at8.get("grouping alone", {}).get("ms_median", 0.0)
    found = []
    for label, wanted, over, under in _TARGETS:
        base, mine = at8.get(over(at8) or ""), at8.get(under(at8) or "")
        if base is not None and mine is not None:
            beside = grouping if label.startswith("tokenizer") else 0.0
            ratio = (base["ms_median"] - beside) / (mine["ms_median"] - beside)
            found.append([label, f"{wanted:.1f}x", f"{ratio:.2f}x", "yes" if ratio >= wanted else "no"])
    return (
        table(["target, batch 8", "wanted", "found", "reached"], found) if found else "No targets at batch 8."
    )


Named = dict[str, Record]
Pick = Callable[[Named], str | None]


def _starting(text: str) -> Pick:
    """The fastest of the rows whose name starts like this."""

    def pick(rows: Named) -> str | None:
        alike = [name for name in rows if name.startswith(text)]
        return min(alike, key=lambda name: rows[name]["ms_median"]) if alike else None

    return pick


_TARGETS: tuple[tuple[str, float, Pick, Pick], ...] = (
    (
        "tokenizer without grouping, rewritten exactly, against published",
        2.2,
        _starting("tokenizer alone, published"),
        _starting("tokenizer alone, rewritten"),
    ),
    (
        "student, rewritten exactly, against published",
        1.5,
        _starting("student as published"),
        _starting("student rewritten"),
    ),
    ("best rung, full tokenizer, against the naive teacher", 6, _starting(BASELINE), _starting("ours, full")),
    (
        "best rung, light tokenizer, against the naive teacher",
        10,
        _starting(BASELINE),
        _starting("ours, lite"),
    ),
    (
        "best rung, full tokenizer, against the teacher in ONNX Runtime FP32",
        4,
        _starting("teacher, ONNX Runtime FP32"),
        _starting("ours, full"),
    ),
    (
        "best rung, light tokenizer, against the teacher in ONNX Runtime FP32",
        7,
        _starting("teacher, ONNX Runtime FP32"),
        _starting("ours, lite"),
    ),
)


def _loops(record: Record) -> str:
    body = [
        [row["name"], f"{row['samples_per_s']:.2f}", f"{row['ratio_to_naive']:.2f}x", _wanted(row)]
        for row in record["rows"]
    ]
    head = f"{record['size']}, batch {record['batch']}, {record['threads']} threads:"
    return f"{head}\n\n{table(['loop', 'clouds/s', 'against naive', 'wanted'], body)}"


def _wanted(row: Record) -> str:
    return f"{row['wanted']:.1f}x" if row.get("wanted") else ""


def _grouping(record: Record) -> str:
    body = []
    for row in record["rows"]:
        ratio = "" if row["ratio_to_torch"] is None else f"{row['ratio_to_torch']:.1f}x"
        body.append(
            [row["workload"], row["name"], f"{row['ms_min']:,.3f}", f"{row['ms_median']:,.3f}", ratio]
        )
    header = ["workload", "form", "ms, least", "ms, median", "against torch"]
    return f"One thread for torch, NumPy and objects in machine code:\n\n{table(header, body)}"


def _ceilings(record: Record) -> str:
    peaks = [[name, f"{value:,.1f}"] for name, value in record["ceilings"].items()]
    stages = [
        [
            row["stage"],
            f"{row['ms']:.3f}",
            f"{row['macs'] / 1e6:,.2f}",
            f"{row['bytes'] / 2**20:.2f}",
            f"{row['bound_ms']:.3f}",
            f"{100 * row['bound_ms'] / row['ms']:.0f} %",
        ]
        for row in record["rows"]
    ]
    header = ["stage", "ms, least", "MMACs", "MiB moved", "bound, ms", "of the bound"]
    return f"{table(['ceiling', 'value'], peaks)}\n\n{table(header, stages)}"


_PARTS: dict[str, Callable[[Record], str]] = {
    "compare": _compare,
    "loops": _loops,
    "grouping": _grouping,
    "ceilings": _ceilings,
}
