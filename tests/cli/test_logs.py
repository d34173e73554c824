"""What the runtime logs is told like everything else: a line for people, or a JSON object."""

from __future__ import annotations

import json
import logging

import pytest

from foundry_edge.cli.logs import logging_to

LOGGER = logging.getLogger("foundry_edge_runtime.backends.trt.lane")


def test_structured(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(True):
        LOGGER.warning("%s: runs without a CUDA graph", "tensorrt")
        LOGGER.info("nothing to tell")
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    record = json.loads(line)
    assert (record["level"], record["event"]) == ("warning", "notice")
    assert record["message"] == "tensorrt: runs without a CUDA graph"


def test_for_people_and_only_while_it_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(False):
        LOGGER.warning("not all GPU resources were freed\n\x1b[31m")
    LOGGER.warning("afterwards")
    assert "foundry-edge: not all GPU resources were freed\\n\\x1b[31m\n" in capsys.readouterr().err
    assert logging.getLogger("foundry_edge_runtime").handlers == []
