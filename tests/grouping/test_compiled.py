"""Machine code of grouping: when it is made, where it is kept, and what happens where it cannot be."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime.grouping import GroupingPath, accelerate, cache, compiled, kernels
from foundry_edge_runtime.grouping.tree import plant
from tests.grouping.clouds import cloud

IMPORTED = """
import sys
import numpy as np
from foundry_edge_runtime.grouping import Preprocessing, accelerate, group_points, group_scene
cloud = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
group_points(cloud, Preprocessing(points=64, groups=4, group_size=8))
group_scene(cloud, 9, 32)
path = accelerate(compile_now=False)
print(path.name, "numba" in sys.modules)
"""


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As at the start of a process, with an empty cache."""
    monkeypatch.setattr(compiled, "_path", None)
    monkeypatch.setattr(compiled, "_compiled", None)
    monkeypatch.delenv(cache.NUMBA_CACHE, raising=False)
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def numba() -> Any:
    return pytest.importorskip("numba", reason="the extra fast is not installed")


def test_nothing_is_compiled_at_import_or_for_a_scan(tmp_path: Path) -> None:
    environment = {**os.environ, "FOUNDRY_EDGE_CACHE": str(tmp_path)}
    command = [sys.executable, "-W", "error", "-c", IMPORTED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["numpy", "False"]
    assert list(tmp_path.iterdir()) == []


def test_threads_that_ask_at_once_load_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numba()
    calls = []

    def load() -> tuple[None, GroupingPath]:
        calls.append(1)
        time.sleep(0.05)
        return None, GroupingPath("numpy", "made up")

    monkeypatch.setattr(compiled, "_loaded", load)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: accelerate(), range(8)))
    assert len(calls) == 1
    assert {path.detail for path in found} == {"made up"}


def test_without_numba_numpy_serves_and_the_extra_is_named(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = accelerate()
    assert path.name == "numpy"
    assert "pip install 'foundry-edge[fast]'" in path.detail
    assert compiled.compiled() is None


@pytest.mark.parametrize("error", [ImportError("needs another numpy"), RuntimeError("no LLVM\nhere")])
def test_a_numba_that_does_not_work_is_listed_with_its_reason(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    numba()

    def broken() -> tuple[None, GroupingPath]:
        raise error

    monkeypatch.setattr(compiled, "_compile_and_check", broken)
    path = accelerate()
    assert path.name == "numpy"
    assert path.detail.startswith("numba does not work here: ")
    assert "\n" not in path.detail


def test_machine_code_that_fuses_operations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fused(axes: Any, nearest: Any, boxes: Any, farthest: Any, first: Any, chosen: Any) -> None:
        kernels.sample(axes, nearest, boxes, farthest, first, chosen)
        nearest[:600:7] = np.nextafter(nearest[:600:7], np.float32(9))

    made = compiled.Compiled(kernels.build, fused, kernels.neighbours)
    monkeypatch.setattr(compiled, "_compile", lambda *_: made)
    with pytest.raises(RuntimeError, match="other groups than NumPy"):
        compiled._checked(None, None)


def test_machine_code_that_gives_other_indices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arrays: Any) -> None:
        arrays[-1][...] = 0

    monkeypatch.setattr(compiled, "_compile", lambda *_: compiled.Compiled(wrong, wrong, wrong))
    with pytest.raises(RuntimeError, match="other groups than NumPy"):
        compiled._checked(None, None)


def test_damaged_code_in_our_folder_is_removed_and_made_again(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numba()
    damaged = fresh / "grouping" / "kernels_1" / "kernels.sample.nbi"
    damaged.parent.mkdir(parents=True, mode=0o700)
    damaged.write_bytes(b"\0")
    made = compiled.Compiled(print, print, print)

    def checked(library: Any, folder: Path | None) -> compiled.Compiled:
        if damaged.exists():
            raise EOFError("Ran out of input")
        return made

    monkeypatch.setattr(compiled, "_checked", checked)
    assert accelerate().name == "compiled"
    assert compiled.compiled() is made
    assert cache.prepared()


def test_code_of_other_programs_is_never_removed(fresh: Path, tmp_path: Path) -> None:
    other = tmp_path / "theirs" / "module_1" / "theirs.nbi"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"\0")
    assert not cache.emptied(tmp_path / "theirs")
    assert not cache.emptied(None)
    assert other.exists()


def test_no_private_folder_means_no_cache(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.folder() == fresh / "grouping"
    (fresh / "grouping").chmod(0o777)  # anyone may put code there
    assert cache.folder() is None
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", "/dev/null/cache")
    assert cache.folder() is None
    cache.mark_prepared(None)
    assert not cache.prepared()


def test_a_kernel_is_compiled_without_a_folder_too() -> None:
    library = numba()
    made = compiled._compile(library, None)
    tree = plant(cloud("random", 100))
    made.build(tree.axes, tree.boxes, tree.first)
    corners = tree.axes[:, :100].min(axis=1), tree.axes[:, :100].max(axis=1)
    np.testing.assert_array_equal(tree.boxes[-1], np.concatenate(corners))


def test_numba_keeps_its_own_configuration(fresh: Path) -> None:
    library = SimpleNamespace(config=SimpleNamespace(CACHE_DIR="theirs"))
    with cache.used_by(library, fresh):
        assert str(fresh) == library.config.CACHE_DIR
    assert library.config.CACHE_DIR == "theirs"


def test_a_note_of_another_machine_counts_for_nothing(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mark_prepared(cache.folder())
    assert cache.prepared()
    monkeypatch.setattr(cache, "cpu_model", lambda: "another CPU")
    assert not cache.prepared()


def test_many_centres_are_shared_among_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    path = accelerate()
    fast = compiled.compiled()
    if fast is None:
        pytest.skip(path.detail)
    points = cloud("surface", 3000)
    alone = fast.indices(points, 300, 8)
    monkeypatch.setattr(compiled, "_MANY", 100)
    monkeypatch.setattr(compiled, "usable_cpus", lambda: 7)
    for one, other in zip(alone, fast.indices(points, 300, 8), strict=True):
        np.testing.assert_array_equal(one, other)
