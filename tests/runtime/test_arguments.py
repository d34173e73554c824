"""Wrong arguments in Python: one line that names the argument, whatever their type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime import Budget, Session, load_bundle, read_points
from foundry_edge_runtime.errors import InputError, ScanError
from foundry_edge_runtime.scenes.session import SceneSession


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": "4"}, "--tokens must be a whole number above 0, found '4'"),
        ({"tokens": True}, "--tokens must be a whole number above 0, found True"),
        ({"tokens": 4.0}, "--tokens must be a whole number above 0, found 4.0"),
        ({"tokens": 0}, "--tokens must be a whole number above 0, found 0"),
        ({"max_latency_ms": "5"}, "--max-latency-ms must be a number above 0, found '5'"),
        ({"max_latency_ms": True}, "--max-latency-ms must be a number above 0, found True"),
        ({"max_memory_mb": [5]}, "--max-memory-mb must be a number above 0, found [5]"),
        ({"max_memory_mb": float("nan")}, "--max-memory-mb must be a number above 0, found nan"),
        ({"min_accuracy": "90"}, "--min-accuracy must be a percentage above 1 and up to 100, found '90'"),
        ({"precision": 8}, "--precision must be one of fp32, fp16, int8, int8-fp16; found 8"),
        ({"prefer": "speed"}, "prefer must be one of accuracy, latency, memory; found 'speed'"),
    ],
)
def test_budget(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Budget(**arguments)
    assert str(caught.value).startswith(message)


def test_numbers_of_numpy_are_numbers() -> None:
    budget = Budget(max_latency_ms=np.float32(5))  # type: ignore[arg-type]
    assert budget.max_latency_ms == 5
    assert Budget(tokens=np.int64(4)).tokens == 4  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Session, SceneSession])
def test_session_wants_a_bundle(kind: type, bundle_folder: Path) -> None:
    with pytest.raises(InputError, match="bundle must be what load_bundle gives, found '/nope'; give load_b"):
        kind("/nope")
    with pytest.raises(InputError, match="bundle must be what load_bundle gives"):
        kind(bundle_folder)


def test_session_wants_a_budget(bundle_folder: Path) -> None:
    with pytest.raises(InputError, match="budget must be a Budget, found 10; give Budget"):
        Session(load_bundle(bundle_folder), 10)  # type: ignore[arg-type]


def test_messages_fit_python_too(bundle_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="add --parts, in Python parts=True"):
        Session(load_bundle(bundle_folder), category="Chair")
    with pytest.raises(ScanError, match=r"is a folder, not a regular file.*find_scans lists them"):
        read_points(tmp_path)
