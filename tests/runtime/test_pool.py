"""ONNX Runtime's sessions share one pool of threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from foundry_edge_runtime.backends import pool

THREADS_OF_TWO_ENGINES = """
import os, sys
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.backends.ort import OnnxRuntimeBackend
bundle = load_bundle(sys.argv[1])
count = []
for rung in bundle.manifest.rungs[:2]:
    engine = OnnxRuntimeBackend("cpu", 3).load(bundle.graph(rung), bundle.manifest.preprocessing)
    engine.warm()
    count.append((engine, len(os.listdir("/proc/self/task"))))
print(count[1][1] - count[0][1])
"""


class Options:
    """Stands in for SessionOptions."""

    use_per_session_threads = True
    intra_op_num_threads = 0


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_sizes", [])


def _options(library: object, threads: int) -> Options:
    options = Options()
    pool.share_threads(library, options, threads)
    return options


def test_the_first_size_is_shared_and_another_is_a_pool_of_its_own() -> None:
    asked: list[tuple[int, int]] = []
    library = SimpleNamespace(set_global_thread_pool_sizes=lambda *sizes: asked.append(sizes))
    assert not _options(library, 2).use_per_session_threads
    assert not _options(library, 2).use_per_session_threads
    other = _options(library, 5)
    assert other.use_per_session_threads
    assert other.intra_op_num_threads == 5
    assert asked == [(2, 1)]


def test_a_release_without_a_common_pool_gets_one_for_each_session() -> None:
    options = _options(SimpleNamespace(), 2)
    assert options.use_per_session_threads
    assert options.intra_op_num_threads == 2


def test_a_pool_that_other_code_made_is_left_alone() -> None:
    def refuse(threads: int, between: int) -> None:
        raise RuntimeError("Global thread pools have already been created")

    options = _options(SimpleNamespace(set_global_thread_pool_sizes=refuse), 2)
    assert options.use_per_session_threads
    assert options.intra_op_num_threads == 2


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_second_engine_brings_no_threads(bundle_folder: Path) -> None:
    library = pytest.importorskip("onnxruntime")
    if not hasattr(library, "set_global_thread_pool_sizes"):
        pytest.skip("this release of ONNX Runtime has no common pool")
    command = [sys.executable, "-c", THREADS_OF_TWO_ENGINES, str(bundle_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "0"
