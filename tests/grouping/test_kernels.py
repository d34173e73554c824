"""The CUDA kernels of grouping, emulated on the CPU: the very groups of NumPy, whatever the threads do."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from foundry_edge_runtime.backends.cuda import grouping
from foundry_edge_runtime.backends.cuda.driver import Kernel
from foundry_edge_runtime.backends.cuda.grouping import POINTS, GroupingKernels, Places
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.grouping import Preprocessing, canonical_order, group_prepared, normalise
from foundry_edge_runtime.grouping.sampling import farthest_from_centroid
from foundry_edge_runtime.pointcloud import FloatArray
from tests.grouping import reference
from tests.grouping.clouds import MAKERS, cloud
from tests.runtime.emulated import Emulator, emulator, needs_compiler

pytestmark = needs_compiler
SOURCE = Path(grouping.__file__).with_name("grouping.cu").read_text()
GUARD = 64  # elements behind each array that must stay as they were
BARRIER = "__syncthreads();"


@dataclass
class Launches:
    """A driver that takes note of the kernels it is to run, and the device and stream it belongs to."""

    kernels: list[Kernel]
    name: str = "notes"

    def compile(self, source: str, capability: tuple[int, int]) -> bytes:
        del capability
        return source.encode()

    @property
    def driver(self) -> Launches:
        return self

    @property
    def attributes(self) -> Launches:
        return self

    compute_capability = (8, 7)

    def module(self, code: bytes) -> bytes:
        return code

    def run(self, module: bytes, kernel: Kernel) -> None:
        assert module.decode() == SOURCE
        self.kernels.append(kernel)


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "_code", {})


def guarded(count: int, kind: type[np.float32 | np.int32]) -> tuple[np.ndarray, np.ndarray]:
    """An array of rubbish, and all of its memory."""
    whole = np.full(count + GUARD, 77, kind)
    return whole[:count], whole


def emulate(
    clouds: FloatArray,
    spec: Preprocessing,
    emulated: Emulator,
    *,
    threads: int | None = None,
    backwards: bool = False,
    without: int = 0,
) -> tuple[np.ndarray, FloatArray, FloatArray]:
    """Indices of the centres (B, c), groups (B, c, K, 3), centres (B, c, 3), by the runtime's launches.

    Args:
        clouds: (B, N, 3).
        spec: N, c and K.
        emulated: the kernels.
        threads: per block, in the place of those that the runtime asks for.
        backwards: the last thread goes first.
        without: the line of a barrier that is passed over.
    """
    starts = np.array([farthest_from_centroid(one) for one in clouds], np.int32)
    count = len(clouds) * spec.groups
    chosen, chosen_memory = guarded(count, np.int32)
    groups, groups_memory = guarded(count * spec.group_size * 3, np.float32)
    centers, centers_memory = guarded(count * 3, np.float32)
    places = Places(*(one.ctypes.data for one in (clouds, starts, chosen, groups, centers)))
    noted = Launches([])
    GroupingKernels(noted, spec).group(noted, len(clouds), places)  # type: ignore[arg-type]
    for kernel in noted.kernels:
        extra = 8 * max(0, (threads or 0) - kernel.threads) * (kernel.name == "farthest_points")
        arguments = [np.ctypeslib.as_ctypes_type(one.dtype)(int(one)) for one in kernel.arguments]
        if kernel.name == "nearest_points":
            assert ((chosen >= 0) & (chosen < spec.points)).all()
        assert {type(one) for one in arguments} == {ctypes.c_uint64, ctypes.c_int32}
        emulated.launch(
            kernel.name,
            kernel.blocks,
            threads or kernel.threads,
            kernel.shared + extra,
            arguments,
            backwards=backwards,
            without=without,
        )
    for memory in (chosen_memory, groups_memory, centers_memory):
        assert (memory[-GUARD:] == 77).all(), "written behind the end"
    shape = (len(clouds), spec.groups)
    return chosen.reshape(shape), groups.reshape(*shape, spec.group_size, 3), centers.reshape(*shape, 3)


def check(clouds: FloatArray, spec: Preprocessing, emulated: Emulator, **how: object) -> None:
    """All three are those of the CPU, to the bit, and the indices those of the definition."""
    chosen, groups, centers = emulate(clouds, spec, emulated, **how)  # type: ignore[arg-type]
    for row, points in enumerate(clouds):
        expected = group_prepared(points, spec)
        samples = reference.sample(points, spec.groups)
        np.testing.assert_array_equal(chosen[row], samples)
        nearest = reference.neighbours(points, samples, spec.group_size)
        np.testing.assert_array_equal(groups[row], points[nearest] - points[samples][:, None])
        assert groups[row].tobytes() == expected.groups.tobytes()
        assert centers[row].tobytes() == expected.centers.tobytes()


def sampled(kind: str, count: int, seed: int = 0) -> FloatArray:
    """A cloud as `prepare` gives it: in canonical order and normalised."""
    points = cloud(kind, count, seed)
    return normalise(points[canonical_order(points)])


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    ("count", "groups", "size"), [(1, 3, 1), (5, 9, 4), (64, 16, 64), (65, 4, 33), (300, 12, 20)]
)
def test_groups_are_those_of_the_cpu(kind: str, count: int, groups: int, size: int) -> None:
    spec = Preprocessing(points=count, groups=groups, group_size=size)
    clouds = np.stack([sampled(kind, count, seed) for seed in range(2)])
    check(clouds, spec, emulator(SOURCE), threads=16)


@pytest.mark.parametrize("kind", ["tied", "duplicated", "underflowing", "far away"])
def test_points_need_not_be_normalised(kind: str) -> None:
    spec = Preprocessing(points=200, groups=20, group_size=16)
    check(np.stack([cloud(kind, 200, seed) for seed in range(2)]), spec, emulator(SOURCE), threads=16)


@pytest.mark.parametrize("kind", ["surface", "tied", "collinear"])
def test_the_default_preprocessing(kind: str) -> None:
    check(sampled(kind, 1024)[None], Preprocessing(), emulator(SOURCE))


def test_the_largest_cloud_that_the_kernels_take() -> None:
    spec = Preprocessing(points=POINTS, groups=4, group_size=48)
    check(sampled("random", POINTS)[None], spec, emulator(SOURCE), threads=64)


@pytest.mark.parametrize("threads", [1, 2, 3, 7, 32, 100])
@pytest.mark.parametrize("backwards", [False, True])
def test_any_number_of_threads_in_any_order(threads: int, backwards: bool) -> None:
    spec = Preprocessing(points=96, groups=10, group_size=12)
    clouds = np.stack([sampled("tied", 96), sampled("random", 96)])
    check(clouds, spec, emulator(SOURCE), threads=threads, backwards=backwards)


BARRIERS = [number for number, line in enumerate(SOURCE.splitlines(), 1) if BARRIER in line]


@pytest.mark.parametrize("line", BARRIERS)
def test_every_barrier_is_needed(line: int) -> None:
    """And the emulation would notice one that is missing."""
    spec = Preprocessing(points=96, groups=10, group_size=12)
    clouds = np.stack([sampled("tied", 96), sampled("random", 96)])
    wrong = 0
    for backwards in (False, True):
        try:
            check(clouds, spec, emulator(SOURCE), threads=8, backwards=backwards, without=line)
        except AssertionError:
            wrong += 1
    assert wrong


SUM = "__fadd_rn(__fadd_rn(__fmul_rn(dx, dx), __fmul_rn(dy, dy)), __fmul_rn(dz, dz))"


@pytest.mark.parametrize(
    ("said", "other"),
    [
        ("~(unsigned)i)", "(unsigned)i)"),
        ("key_of(nearest[i]", "key_of(squared"),
        (SUM, "dx * dx + (dy * dy + dz * dz)"),
        (SUM, "__builtin_fmaf(dz, dz, __builtin_fmaf(dy, dy, dx * dx))"),
    ],
)
def test_a_broken_rule_is_noticed(said: str, other: str) -> None:
    assert said in SOURCE
    broken = emulator(SOURCE.replace(said, other))
    spec = Preprocessing(points=300, groups=40, group_size=32)
    clouds = np.stack([sampled("tied", 300), sampled("surface", 300)])
    with pytest.raises(AssertionError):
        check(clouds, spec, broken, threads=8)


def test_shared_memory_that_was_not_asked_for_is_noticed() -> None:
    greedy = emulator(SOURCE.replace("while (padded < count)", "while (padded <= count)"))
    with pytest.raises(RuntimeError, match="more shared memory is used than was asked for"):
        check(sampled("random", 64)[None], Preprocessing(points=64, groups=2, group_size=4), greedy)


def test_a_barrier_that_some_threads_miss_is_noticed() -> None:
    split = emulator(SOURCE.replace(BARRIER, f"if (threadIdx.x) {BARRIER}", 1))
    with pytest.raises(RuntimeError, match="not all threads of a block reach a barrier"):
        check(sampled("random", 64)[None], Preprocessing(points=64, groups=2, group_size=4), split)


@pytest.mark.parametrize("spec", [Preprocessing(points=POINTS + 1), Preprocessing(points=16, group_size=17)])
def test_limits_are_told(spec: Preprocessing) -> None:
    with pytest.raises(BackendError, match=f"the kernels take at most {POINTS}, and no more in a group"):
        GroupingKernels(Launches([]), spec)  # type: ignore[arg-type]
