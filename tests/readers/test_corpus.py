"""R1 and R2: every file of the corpus ends in one of its allowed outcomes, in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foundry_edge_runtime.errors import FoundryEdgeError
from foundry_edge_runtime.inspection import inspect
from tests.readers.reader_process import inspect_process

CORPUS = Path(__file__).resolve().parents[2] / ".." / "shared" / "corpus"
MAX_EXTRA_MIB = 256
MAX_SECONDS = 5
CANARIES = ("FOUNDRY_EDGE_CANARY_PICKLE", "FOUNDRY_EDGE_CANARY_SLIP.npy")


def _cases() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = []
    for manifest in sorted(CORPUS.glob("manifest*.json")):
        cases += [
            case
            for case in json.loads(manifest.read_text()).get("cases", [])
            if case.get("kind") in ("bad", "good") and (CORPUS / case["file"]).is_file()
        ]
    return cases


CASES = _cases()
pytestmark = pytest.mark.skipif(not CASES, reason="needs the corpus beside the repository")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_every_case_ends_in_an_allowed_outcome(case: dict[str, Any], baseline_mib: float) -> None:
    expect = case["expect"]
    path = CORPUS / case["file"]
    outcome = inspect_process(path, *case["options"].split())

    assert outcome.seconds <= MAX_SECONDS
    assert outcome.peak_mib - baseline_mib <= MAX_EXTRA_MIB
    assert "Traceback" not in outcome.err + outcome.out
    assert not any((Path("/tmp") / canary).exists() for canary in CANARIES)
    if outcome.code == 0:
        assert {expect["outcome"], *expect.get("also_ok", [])} & {"accept", "accept_warn"}
        _check_points(outcome.record, expect)
    else:
        assert outcome.code == 2
        assert "reject" in {expect["outcome"], *expect.get("also_ok", [])}
        assert outcome.out == ""
        _check_message(outcome.err, path.name, expect)


def _check_points(record: dict[str, Any], expect: dict[str, Any]) -> None:
    if expect["points_total"] is not None:
        assert record["points"]["read"] == expect["points_total"]
    if expect["points_valid"] is not None:
        assert record["points"]["valid"] == expect["points_valid"]
    if expect["bbox_valid"]:
        low, high = expect["bbox_valid"]
        assert record["bounds"]["min"] == pytest.approx(low, abs=1e-5, rel=1e-12)
        assert record["bounds"]["max"] == pytest.approx(high, abs=1e-5, rel=1e-12)
    if expect["outcome"] == "accept_warn":
        said = " ".join(record["warnings"])
        assert any(word in said for word in expect["message_must_contain_any"])


def _check_message(message: str, name: str, expect: dict[str, Any]) -> None:
    assert message.count("\n") == 1
    assert name in message
    said = message.replace(name, "")
    assert any(word.lower() in said.lower() for word in expect.get("message_must_contain_any", [""]))
    assert ";" in said, "a remedy follows the problem"


SALVAGEABLE = [case for case in CASES if case["expect"].get("salvage_points")]


@pytest.mark.parametrize("case", SALVAGEABLE, ids=lambda case: case["id"])
def test_salvage_keeps_the_whole_points_and_warns(case: dict[str, Any]) -> None:
    path = CORPUS / case["file"]
    with pytest.raises(FoundryEdgeError):
        inspect(path)
    found = inspect(path, salvage=True)
    assert found.valid == case["expect"]["salvage_points"]
    assert any("kept" in line for line in found.warnings)
