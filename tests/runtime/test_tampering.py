"""A bundle with any bit of a graph or of weights flipped is refused before an engine sees it (A2)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from foundry_edge_runtime import Budget, Session, load_bundle
from foundry_edge_runtime.backends.fake import FakeBackend
from foundry_edge_runtime.errors import BundleError

FLIPS = 100


def test_flipped_bits_are_refused_before_loading(bundle_folder: Path) -> None:
    rng = np.random.default_rng(6)
    files = ("s4-fp32.onnx", "fp32.bin")
    for _ in range(FLIPS):
        path = bundle_folder / files[int(rng.integers(2))]
        content = path.read_bytes()
        place, bit = int(rng.integers(len(content))), int(rng.integers(8))
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :])
        fake = FakeBackend()
        with pytest.raises(BundleError, match="SHA-256"):
            Session(load_bundle(bundle_folder), Budget(tokens=4, precision="fp32"), backend=fake)
        assert fake.log == []
        path.write_bytes(content)
    Session(load_bundle(bundle_folder), backend=FakeBackend()).close()


def test_file_that_is_swapped_for_a_link_or_another_rung_is_refused(
    bundle_folder: Path, tmp_path: Path
) -> None:
    graph = bundle_folder / "s4-fp32.onnx"
    kept = tmp_path / "kept.onnx"
    shutil.copy(graph, kept)
    for swap in (graph.symlink_to, graph.hardlink_to):
        graph.unlink()
        swap(kept)
        with pytest.raises(BundleError):
            Session(load_bundle(bundle_folder), Budget(tokens=4, precision="fp32"))
    graph.unlink()
    shutil.copy(bundle_folder / "s1-fp32.onnx", graph)
    with pytest.raises(BundleError, match="SHA-256"):
        Session(load_bundle(bundle_folder), Budget(tokens=4, precision="fp32"))
