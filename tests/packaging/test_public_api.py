"""The Python interface of foundry_edge: every promised name exists, none other, and none is loaded early."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import foundry_edge


@pytest.mark.parametrize("name", foundry_edge.__all__)
def test_every_public_name_is_a_documented_function(name: str) -> None:
    value = getattr(foundry_edge, name)
    assert callable(value)
    assert value.__name__ == name
    assert value.__doc__


def test_public_names_are_the_lazy_ones_and_sorted() -> None:
    assert list(foundry_edge._PUBLIC) == foundry_edge.__all__ == sorted(foundry_edge.__all__)
    assert dir(foundry_edge) == foundry_edge.__all__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        foundry_edge.distil  # noqa: B018


def test_importing_the_package_loads_nothing_heavy(repository: Path) -> None:
    code = "import sys, foundry_edge; print(*{'torch', 'onnx', 'numpy', 'onnxruntime'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, text=True, capture_output=True, check=True
    )
    assert result.stdout.split() == []
