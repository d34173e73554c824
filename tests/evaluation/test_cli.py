"""The commands evaluate and finetune: one JSON object, one line for an error, a table for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foundry_edge.cli.app import app
from foundry_edge_runtime.errors import InputError

runner = CliRunner()


def test_evaluate_prints_one_object(student: Path, shapes: Path) -> None:
    words = ["evaluate", str(student), "--data", str(shapes), "--protocol", "probe", "--seeds", "0", "--json"]
    result = runner.invoke(app, words)
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert list(record) == ["schema", "model", "data", "protocol", "metrics", "seeds", "samples"]
    assert set(record["metrics"]) == {"s1-fp32", "s4-fp32"}
    assert record["seeds"] == [0]
    assert record["data"] == "easy"


def test_evaluate_prints_a_table(teacher: Path, shapes: Path) -> None:
    result = runner.invoke(app, ["evaluate", str(teacher), "--data", str(shapes), "--seeds", "0,1"])
    assert "24 test shapes" in result.stdout
    assert "full-fp32" in result.stdout
    assert "±" in result.stdout


def test_finetune_prints_one_object_and_writes_a_model(student: Path, shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    words = ["finetune", str(student), "--data", str(shapes), "--out", str(out), "--epochs", "2", "--json"]
    result = runner.invoke(app, [*words, "--precision", "32-true", "--tokens", "4"])
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    assert record["budgets"][0]["tokens"] == 4
    assert record["samples"] == 24
    assert json.loads((out / "report.json").read_text()) == record
    assert (out / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "words", [["--seeds", "a"], ["--protocol", "guess"], ["--precision", "int8"], ["--tokens", "0"]]
)
def test_wrong_usage_is_one_line(teacher: Path, words: list[str]) -> None:
    result = runner.invoke(app, ["evaluate", str(teacher), *words])
    assert isinstance(result.exception, InputError)
    assert "\n" not in str(result.exception)
    assert result.stdout == ""
