from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foundry_edge_export.tensorrt import isolated, site, workshop
from foundry_edge_export.tensorrt.builder import build
from foundry_edge_export.tensorrt.check import acceptable, check_clouds, compare
from foundry_edge_export.tensorrt.compiler import _failure, compile_rung
from foundry_edge_export.tensorrt.configure import configure, detach_timing
from foundry_edge_export.tensorrt.failures import CrashError, RefusedError
from foundry_edge_export.tensorrt.library import ahead_capabilities
from foundry_edge_export.tensorrt.network import parse
from foundry_edge_export.tensorrt.rungs import stand_ins
from foundry_edge_export.tensorrt.site import Site
from foundry_edge_export.tensorrt.task import BuildTask, Compiled
from foundry_edge_export.tensorrt.timing import read_timing, timing_name, write_timing
from foundry_edge_runtime.backends.trt.messages import Messages, one_line
from foundry_edge_runtime.bundle import load_bundle
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.plans import PlanCheck, PlanDevice, PlanStore
from tests.plans.broken import with_strange_node
from tests.runtime.tiny_bundle import GROUPS, SIZE, expected

ORIN = PlanDevice(gpu="Orin", compute_capability=("8.7",), driver="540.4.0", cuda="12.6")
AHEAD = ("8.6", "8.9")


def task(folder: Path, backend: str = "tensorrt-rtx", **changes: Any) -> BuildTask:
    values = {"rung": "s1-int8", "batches": (1, 2, 4), "capabilities": AHEAD, "workspace": 1 << 28, **changes}
    return BuildTask(backend=backend, folder=str(folder), **values)


@pytest.mark.usefixtures("rtx")
def test_a_network_takes_the_batches_of_its_profile_and_no_tf32(bundle: Path) -> None:
    library = import_module("tensorrt_rtx")
    network = parse(library, bundle / "s1-int8.onnx")
    config = configure(network, task(bundle), b"")
    assert network.definition.get_flag(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert not config.get_flag(library.BuilderFlag.TF32)
    assert config.get_memory_pool_limit(library.MemoryPoolType.WORKSPACE) == 1 << 28
    assert config.num_optimization_profiles == 1
    assert [config.get_compute_capability(i).name for i in range(2)] == ["SM86", "SM89"]
    assert {network.definition.get_input(i).name for i in range(2)} == {"groups", "centers"}
    assert {network.definition.get_output(i).name for i in range(3)} == {"tokens", "global", "logits"}


@pytest.mark.usefixtures("rtx")
@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_the_way_of_tensorrt_itself_with_a_timing_cache(bundle: Path) -> None:
    """Its calls are those of tensorrt_rtx, which still has the timing cache's, without effect."""
    library = import_module("tensorrt_rtx")
    network = parse(library, bundle / "s1-int8.onnx")
    config = configure(network, task(bundle, "tensorrt", capabilities=()), b"")
    timing = detach_timing(config, "tensorrt")
    assert len(timing) > 0
    again = configure(network, task(bundle, "tensorrt", capabilities=()), timing)
    assert detach_timing(again, "tensorrt") == timing
    assert config.num_compute_capabilities == 0


@pytest.mark.usefixtures("rtx")
def test_the_parser_names_the_node(tmp_path: Path) -> None:
    folder = with_strange_node(tmp_path / "bundle")
    with pytest.raises(
        RefusedError, match=r"s4-int8\.onnx: the parser refuses node blocks\.3/Strange \(Strange\)"
    ):
        compile_rung(task(folder, rung="s4-int8"))


@pytest.mark.usefixtures("rtx")
def test_a_refusal_of_the_compiler_names_the_node(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turing has no FP32 matrix products in TensorRT-RTX, so it is left out of what is built ahead."""
    assert "7.5" not in ahead_capabilities(import_module("tensorrt_rtx"))
    with pytest.raises(RefusedError, match=r"the compiler refuses it: .*Turing") as caught:
        compile_rung(task(bundle, rung="s1-fp32", capabilities=("7.5",)))
    assert "/_src/" not in str(caught.value)


def test_a_message_is_one_line_without_the_library_own_places() -> None:
    text = (
        "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: check_turing] Cannot compile "
        "'a/MatMul'.\nIn compileGraph at /_src/optimizer/myelin/codeGenerator.cpp:2012)"
    )
    line = one_line(text)
    assert "Cannot compile 'a/MatMul'" in line
    assert "_src" not in line
    assert "\n" not in line
    assert len(one_line("x" * 1000)) == 400


def test_only_errors_and_warnings_are_kept_each_once() -> None:
    messages = Messages()
    for level in ("VERBOSE", "INFO", "WARNING", "WARNING", "ERROR", "INTERNAL_ERROR"):
        messages.add(level, f"said {level}")
    assert messages.warnings == ["said WARNING"]
    assert messages.errors == ["said ERROR", "said INTERNAL_ERROR"]
    assert messages.problem() == messages.take() == "said ERROR"
    messages.add("ERROR", "said since")
    assert messages.take() == "said since"
    assert Messages().problem() == "the library gives no reason"


def test_stand_ins_are_of_the_same_budget_the_nearest_first(bundle: Path) -> None:
    manifest = load_bundle(bundle).manifest
    half = manifest.rungs[0].model_copy(update={"precision": "fp16"})
    wider = manifest.model_copy(update={"rungs": (*manifest.rungs, half)})
    names = {rung.name: [one.name for one in stand_ins(wider, rung)] for rung in wider.rungs}
    assert names["s1-int8"] == ["s1-fp16", "s1-fp32"]
    assert names["s1-fp16"] == ["s1-fp32"]
    assert names["s4-int8"] == ["s4-fp32"]
    assert names["s4-fp32"] == []


def test_the_timing_cache_is_kept_for_one_version_and_device(tmp_path: Path) -> None:
    store = PlanStore(tmp_path / "plans")
    store.secure()
    name = timing_name("tensorrt", "10.3.0", ORIN)
    assert read_timing(store, name) == b""
    write_timing(store, name, b"timed")
    assert read_timing(store, name) == b"timed"
    assert timing_name("tensorrt", "10.13.0", ORIN) != name
    (store.folder / name).write_bytes(b"\0" * 32 + b"altered")
    assert read_timing(store, name) == b""


def test_the_comparison_is_that_of_float64() -> None:
    random = np.random.default_rng(0)
    tokens = random.normal(size=(8, 16, 12)).astype(np.float32)
    noisy = tokens + np.float32(1e-3) * random.normal(size=tokens.shape).astype(np.float32)
    same, near = compare(tokens, tokens), compare(noisy, tokens)
    assert (same.max_abs, same.samples) == (0.0, 8)
    assert same.cosine_mean == pytest.approx(1, abs=1e-12)
    reference = [
        np.dot(a.astype(np.float64), b.astype(np.float64))
        / np.sqrt(np.dot(a.astype(np.float64), a) * np.dot(b.astype(np.float64), b))
        for a, b in zip(noisy.reshape(-1, 12), tokens.reshape(-1, 12), strict=True)
    ]
    assert near.cosine_mean == pytest.approx(np.mean(reference), abs=1e-9)
    assert near.cosine_worst <= near.cosine_mean
    assert near.max_abs == pytest.approx(np.abs(noisy.astype(np.float64) - tokens).max())
    assert acceptable(near, "fp32")
    assert not acceptable(compare(np.roll(tokens, 1, axis=1), tokens), "int8")


def test_a_plan_that_gives_nan_is_not_acceptable() -> None:
    tokens = np.ones((2, 3, 4), np.float32)
    broken = tokens.copy()
    broken[1, 2, 3] = np.nan
    assert not acceptable(compare(broken, tokens), "fp16")


def test_check_clouds_are_the_same_every_time_and_grouped(bundle: Path) -> None:
    spec = load_bundle(bundle).manifest.preprocessing
    groups, centers = check_clouds(spec, 3)
    assert (groups.shape, centers.shape) == ((3, GROUPS, SIZE, 3), (3, GROUPS, 3))
    assert np.array_equal(groups, check_clouds(spec, 3)[0])
    tokens, _, _ = expected(groups, centers, "fp32", 4)
    assert len(np.unique(tokens.round(4))) > 10


def test_free_memory_of_a_jetson_is_what_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 7802220 kB\nMemAvailable:    4000000 kB\n")
    monkeypatch.setattr("foundry_edge_runtime.device._MEMORY", tmp_path / "meminfo")
    device: Any = SimpleNamespace(attributes=SimpleNamespace(integrated=True))
    assert site._free_bytes(device) == 4000000 * 1024


class OnDevice:
    """A GPU that is not there: plans are built ahead for real, what running them gives is set here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cosine: float) -> None:
        self.asked: list[str] = []
        self.cosine = cosine
        compiled = isolated.compile_isolated
        described = Site(version="1.7.1.116", device=ORIN, free_bytes=1 << 30).model_dump(mode="json")

        def ask(kind: str, *_: object, **__: object) -> tuple[dict[str, Any], list[bytes]]:
            self.asked.append(kind)
            found = PlanCheck(max_abs=0.01, cosine_mean=self.cosine, cosine_worst=self.cosine, samples=8)
            return (described if kind == "describe" else json.loads(found.model_dump_json())), []

        def ahead(made: BuildTask, timing: bytes, **options: Any) -> Any:
            self.asked.append(f"build {made.rung} {made.capabilities} {made.workspace}")
            return compiled(BuildTask(**{**vars(made), "capabilities": AHEAD}), timing, **options)

        monkeypatch.setattr("foundry_edge_export.tensorrt.builder.ask", ask)
        monkeypatch.setattr(workshop, "ask", ask)
        monkeypatch.setattr(workshop, "compile_isolated", ahead)


@pytest.mark.usefixtures("rtx", "cache")
def test_on_a_device_every_plan_is_checked_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = OnDevice(monkeypatch, 0.9999)
    report = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("int8",))
    assert device.asked == ["describe", f"build s1-int8 () {1 << 29}", "check"]
    assert report.rungs[0].manifest is not None
    assert report.rungs[0].manifest.checked == "checked: cosine 0.99990, largest difference 1.0e-02"
    assert report.device == ORIN
    build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("int8",))
    assert device.asked[3:] == ["describe"]


class Compiler:
    """It makes these bytes, or crashes; what is made runs, or does not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan: bytes | None = b"first"
        self.runs = True
        described = Site(version="1.7.1.116", device=ORIN, free_bytes=1 << 30).model_dump(mode="json")
        monkeypatch.setattr("foundry_edge_export.tensorrt.builder.ask", lambda *_, **__: (described, []))
        monkeypatch.setattr(workshop, "ask", self.ask)
        monkeypatch.setattr(workshop, "compile_isolated", self.compile)

    def ask(self, *_: object, **__: object) -> tuple[dict[str, Any], list[bytes]]:
        if not self.runs:
            raise BackendError("the plan cannot be deserialised")
        return PlanCheck(max_abs=0, cosine_mean=1, cosine_worst=1, samples=8).model_dump(mode="json"), []

    def compile(self, *_: object, **__: object) -> Compiled:
        if self.plan is None:
            raise CrashError("the compiler was stopped after 9 s")
        return Compiled(self.plan, 1.0, b"", b"", ())


def built(bundle: Path, *, force: bool = False) -> tuple[list[str], tuple[str, ...]]:
    report = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("fp32",), force=force)
    return [one.state for one in report.rungs], report.notes


def kept(store: PlanStore) -> list[bytes]:
    return [(store.folder / one.plan.name).read_bytes() for one in store.manifests()]


def test_a_failed_build_anew_leaves_the_plan_that_is_there(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler, store = Compiler(monkeypatch), PlanStore(cache)
    assert built(bundle) == (["built"], ())
    compiler.plan = None
    stays = "s1-fp32 is not built anew: the compiler was stopped after 9 s; its plan of before stays"
    assert built(bundle, force=True) == (["kept"], (stays,))
    assert kept(store) == [b"first"]
    compiler.plan = b"second"
    assert built(bundle, force=True) == (["built"], ())
    assert kept(store) == [b"second"]


def test_a_new_plan_that_does_not_run_leaves_the_one_that_does(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler, store = Compiler(monkeypatch), PlanStore(cache)
    built(bundle)
    compiler.plan, compiler.runs = b"second", False
    states, notes = built(bundle, force=True)
    assert (states, kept(store)) == (["kept"], [b"first"])
    assert "its plan does not run: the plan cannot be deserialised; its plan of before stays" in notes[0]
    (unchecked,) = store.manifests()
    store.update(unchecked.model_copy(update={"check": None}))
    for force in (False, True):
        states, _ = built(bundle, force=force)
        assert (states, kept(store)) == (["failed"], [])


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Error Code 2: OutOfMemory (Requested size was 4194304 bytes.)", CrashError),
        ("Error Code 1: Cuda Runtime (out of memory)", CrashError),
        ("Could not find any implementation for node {ForeignNode[a...b]}", RefusedError),
    ],
)
def test_a_lack_of_memory_is_no_refusal(said: str, kind: type[BackendError]) -> None:
    error = _failure(said, "s4-int8")
    assert type(error) is kind
    assert said in str(error)


@pytest.mark.usefixtures("rtx")
def test_a_plan_that_does_not_run_is_replaced_and_not_remembered(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = OnDevice(monkeypatch, 1.0)
    answer = workshop.__dict__["ask"]

    def ask(kind: str, task: dict[str, Any], **options: Any) -> Any:
        if kind == "check" and task["rung"] == "s1-int8":
            raise BackendError("the plan cannot be deserialised: of another kind", where="tensorrt-rtx")
        return answer(kind, task, **options)

    monkeypatch.setattr(workshop, "ask", ask)
    report = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("int8",))
    assert [(one.rung.name, one.state) for one in report.rungs] == [
        ("s1-fp32", "built"),
        ("s1-int8", "failed"),
    ]
    assert "its plan does not run: the plan cannot be deserialised: of another kind" in report.notes[0]
    assert list(cache.glob("*.refused.json")) == []
    assert len(list(cache.glob("*.plan"))) == 1
    assert device.asked.count("check") == 1


@pytest.mark.usefixtures("rtx")
def test_a_plan_that_computes_something_else_is_not_kept(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    OnDevice(monkeypatch, 0.7)
    report = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("int8",))
    assert [(one.rung.name, one.state) for one in report.rungs] == [
        ("s1-fp32", "refused"),
        ("s1-int8", "refused"),
    ]
    assert not report.complete
    assert "computes something else than the graph (cosine 0.7000)" in report.notes[0]
    assert list(cache.glob("*.plan")) == []
    assert len(list(cache.glob("*.refused.json"))) == 2
