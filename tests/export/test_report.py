"""The report: one record, shown as JSON, Markdown and a page that needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from foundry_edge_export import ExportReport
from foundry_edge_export.cells import COLUMNS, legend, row
from foundry_edge_export.chart import HEIGHT, WIDTH, Scale, Series, bar_chart, line_chart, ticks
from foundry_edge_export.gates import allowed_drop
from foundry_edge_export.page import html, markdown
from foundry_edge_export.plots import plots
from foundry_edge_export.report import carried_over
from foundry_edge_export.report_files import HTML, JSON, MARKDOWN
from foundry_edge_export.spread import BINS, PER_DECADE, spread

VOID = {"meta"}


def test_every_rung_is_there_with_every_figure(exported: ExportReport) -> None:
    record = json.loads((exported.bundle / JSON).read_bytes())
    assert [rung["name"] for rung in record["rungs"]] == [draft.name for draft in exported.ladder]
    for rung in record["rungs"]:
        assert len(row(rung)) == len(COLUMNS)
        timed = "fp16" not in rung["precision"]
        assert ("-" in row(rung)) is (rung["cpu_ms"] is None) is not timed
        assert rung["made_for"] == ("gpu" if "fp16" in rung["precision"] else "any")
        for counts in rung["spreads"].values():
            assert len(counts) == BINS
            assert sum(counts) == rung["fidelity"]["samples"] * 16
        assert set(rung["spreads"]) == ({"teacher"} if rung["precision"] == "fp32" else {"fp32", "teacher"})


def test_the_rule_of_the_accuracy_gate_is_shown(exported: ExportReport) -> None:
    rungs = exported.as_dict()["rungs"]
    samples = rungs[0]["accuracy"]["samples"]
    assert samples < 200
    assert any(f"or one cloud ({100 / samples:.2f}) if that is more" in line for line in legend(rungs))
    assert {rung["accuracy_drop_allowed"] for rung in rungs if rung["precision"] == "int8"} == {
        round(100 / samples, 3)
    }
    assert allowed_drop(1000) == 0.5


class _Page(HTMLParser):
    """Checks that every element is closed, and notes the elements and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(exported: ExportReport) -> None:
    text = (exported.bundle / HTML).read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.open == []
    tags = [tag for tag, _ in page.seen]
    assert not {"script", "link", "img", "iframe", "object"} & set(tags)
    assert not any({"src", "href", "onload"} & set(attributes) for _, attributes in page.seen)
    assert "http" not in text
    assert "url(" not in text
    assert tags.count("svg") == 4 + len(
        exported.sensitivity
    )  # two frontiers, cosines to fp32 and the teacher
    assert tags.count("tr") == 1 + len(exported.ladder)


def test_names_cannot_leave_their_cell(exported: ExportReport) -> None:
    record = exported.as_dict(whole=True)
    hostile = '<script>alert("x")</script> | a'
    record["notes"] = [hostile]
    for rung in record["rungs"]:
        rung["fidelity"]["data"] = hostile
    record["sensitivity"] = {hostile: [_loss(hostile)]}
    assert "<script>" not in html(record)
    assert "| a |" not in "".join(line for line in markdown(record).splitlines() if line.startswith("|"))


def _loss(block: str) -> dict[str, object]:
    return {"block": block, "cosine_mean": 0.9, "cosine_worst": 0.8, "share": 1.0}


def test_markdown_is_one_table_with_a_row_per_rung(exported: ExportReport) -> None:
    lines = (exported.bundle / MARKDOWN).read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines[2:] if line.startswith("|")][: 2 + len(exported.ladder)]
    assert lines[2 + len(rows)] == ""
    assert len(rows) == 2 + len(exported.ladder)
    assert {line.count("|") for line in rows} == {len(COLUMNS) + 1}


def test_what_was_measured_earlier_stays(exported: ExportReport) -> None:
    earlier = exported.as_dict(whole=True) | {"sensitivity": {"s2": [_loss("blocks.0")]}}
    later = exported.as_dict(whole=True)
    later["sensitivity"].pop("s2", None)
    for rung in later["rungs"]:
        rung["spreads"] = {}
    later["rungs"][0]["key"] = "changed"
    merged = carried_over(later, earlier)
    assert merged["rungs"][0]["spreads"] == {}
    assert merged["rungs"][1]["spreads"] == earlier["rungs"][1]["spreads"]
    assert "s2" in merged["sensitivity"]
    earlier["bundle"] = earlier["bundle"] | {"student": "another"}
    assert "s2" not in carried_over(later, earlier)["sensitivity"]
    assert any("one block alone" in line or "by block" in line for line in plots(merged))


def test_spread_counts_every_token_in_its_bin() -> None:
    reference = np.zeros((1, 4, 2))
    reference[..., 0] = 1
    gaps = np.array([1.0, 0.05, 1e-5, 0.0])
    found = np.stack([1 - gaps, np.sqrt(1 - (1 - gaps) ** 2)], axis=-1)[None]
    counts = spread(found, reference)
    assert sum(counts) == 4
    places = [number for number, count in enumerate(counts) if count]
    assert places == [0, 5, 5 * PER_DECADE - 1, BINS - 1] or places == [0, 5, 5 * PER_DECADE, BINS - 1]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.9991, 0.9999, [0.9992, 0.9994, 0.9996, 0.9998]),
        (-3, 4, [-2, 0, 2, 4]),
        (471e6, 549e6, [480e6, 500e6, 520e6, 540e6]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize("points", [((1.0, 2.0), (3.0, 5.0)), ((7.0, 7.0),), ((0.0, 0.0), (0.0, 0.0))])
def test_points_lie_inside_the_plot(points: tuple[tuple[float, float], ...]) -> None:
    text = line_chart("t", "x", "y", [Series("a & b", "#000", points, tuple("p" for _ in points))])
    circles = [
        (float(one.attrib["cx"]), float(one.attrib["cy"])) for one in ET.fromstring(text).iter("circle")
    ]
    assert len(circles) == len(points)
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in circles)
    for one, other in pairwise(circles):
        assert one[0] <= other[0]
        assert one[1] >= other[1]  # up is more


def test_a_scale_is_linear() -> None:
    scale = Scale(2, 4, 100, 0)
    assert [scale(value) for value in (2, 3, 4)] == [100, 50, 0]


def test_bars_are_as_long_as_their_values() -> None:
    text = bar_chart("t", [("blocks.0", 0.5, "50 %"), ("cau", 0.25, "25 %"), ("dso", 0.0, "0 %")])
    widths = [float(one.attrib["width"]) for one in ET.fromstring(text).iter("rect")]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert widths[2] == 1
    assert re.findall(r">([^<]+) %<", text) == ["50", "25", "0"]
