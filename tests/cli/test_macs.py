"""foundry-edge macs: one JSON object, a table, one line for a wrong model."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from foundry_edge.cli.app import app

runner = CliRunner()


def test_json_is_one_object_whose_stages_add_up() -> None:
    result = runner.invoke(app, ["macs", "embedded:student", "--json"])
    record = json.loads(result.stdout)
    assert [row["tokens"] for row in record["budgets"]] == [1, 2, 4, 8, 16]
    for row in record["budgets"]:
        assert row["total"] == sum(row["macs"].values())
        assert row["total"] < record["teacher_total"]


def test_the_table_has_a_row_per_stage() -> None:
    shown = runner.invoke(app, ["macs", "embedded:teacher"]).stdout
    for word in ("tokenizer", "encoder", "total", "all tokens", "100 %"):
        assert word in shown
