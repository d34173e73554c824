from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from foundry_edge_export.tensorrt.builder import build
from foundry_edge_export.tensorrt.report import BuildReport
from foundry_edge_runtime.bundle import load_bundle
from foundry_edge_runtime.errors import BackendError, BundleError, InputError, StorageError
from foundry_edge_runtime.plans import PlanDevice, PlanRequest, PlanState, PlanStore
from tests.plans.broken import with_outside_data, with_strange_node
from tests.plans.conftest import Run

ADA = PlanDevice(gpu="RTX 4090", compute_capability=("8.9",), driver="580.1", cuda="13.0")
WITHOUT_TORCH = """
import sys
from foundry_edge_export.tensorrt import builder, check, compiler, site, worker
print(*{"torch", "onnx", "tensorrt_rtx", "tensorrt"} & set(sys.modules))
"""


def test_every_rung_becomes_a_plan_that_is_marked_as_not_run(built: BuildReport) -> None:
    assert [one.rung.name for one in built.rungs] == ["s1-fp32", "s4-fp32", "s1-int8", "s4-int8"]
    assert {one.state for one in built.rungs} == {"built"}
    assert built.complete
    for one in built.rungs:
        assert one.manifest is not None
        assert one.manifest.checked == "built ahead, not run"
        assert one.manifest.key.device.compute_capability[-1] >= "12.0"
        assert "7.5" not in one.manifest.key.device.compute_capability
        assert one.manifest.build_seconds > 0
    assert built.folder.stat().st_mode & 0o777 == 0o700


def test_a_gpu_that_it_was_built_for_gets_the_very_bytes(built: BuildReport) -> None:
    rung = built.rungs[0].rung
    wanted = PlanRequest(
        rung.graph.sha256, rung.weights.sha256, "tensorrt-rtx", built.version, ADA, name=rung.name
    )
    outcome = PlanStore(built.folder).load(wanted)
    assert outcome.state is PlanState.READY
    assert outcome.plan is not None
    assert built.rungs[0].manifest is not None
    assert len(outcome.plan) == built.rungs[0].manifest.plan.bytes


@pytest.mark.usefixtures("rtx")
def test_what_is_there_is_kept_what_was_damaged_is_built_anew(bundle: Path, cache: Path) -> None:
    first = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("fp32",), ahead=True)
    again = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("fp32",), ahead=True)
    assert ([one.state for one in first.rungs], [one.state for one in again.rungs]) == (["built"], ["kept"])
    assert again.rungs[0].manifest == first.rungs[0].manifest
    plan = next(cache.glob("*.plan"))
    plan.write_bytes(plan.read_bytes()[:-1] + b"!")
    mended = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("fp32",), ahead=True)
    assert [one.state for one in mended.rungs] == ["built"]
    assert len(mended.notes) == 1
    assert "does not have the hash in its manifest; building it anew" in mended.notes[0]


@pytest.mark.usefixtures("rtx")
def test_a_cache_that_others_can_write_to_is_emptied_and_said(bundle: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "planted.plan").write_bytes(b"code")
    cache.chmod(0o777)
    report = build(bundle, backend="tensorrt-rtx", tokens=(1,), precision=("fp32",), ahead=True)
    assert [one.state for one in report.rungs] == ["built"]
    assert "writable by others: 1 files in it were discarded" in report.notes[0]
    assert not (cache / "planted.plan").exists()


@pytest.mark.usefixtures("rtx")
def test_a_cache_behind_a_link_is_an_error(bundle: Path, cache: Path, tmp_path: Path) -> None:
    cache.parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    cache.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="symbolic link"):
        build(bundle, backend="tensorrt-rtx", ahead=True)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.usefixtures("rtx", "cache")
def test_a_refused_int8_rung_is_replaced_and_the_node_is_named(tmp_path: Path) -> None:
    broken = with_strange_node(tmp_path / "bundle")
    report = build(broken, backend="tensorrt-rtx", tokens=(4,), precision=("int8",), ahead=True)
    fp32, int8 = report.rungs
    assert (fp32.rung.name, fp32.state) == ("s4-fp32", "built")
    assert (int8.rung.name, int8.state, int8.instead) == ("s4-int8", "refused", "s4-fp32")
    assert "node blocks.3/Strange (Strange)" in int8.reason
    assert "\n" not in int8.reason
    assert report.complete
    assert report.notes == (f"s4-int8 has no plan: {int8.reason}; s4-fp32 takes its place",)
    assert fp32.manifest is not None
    assert fp32.manifest.note == f"takes the place of s4-int8: {int8.reason}"
    again = build(broken, backend="tensorrt-rtx", tokens=(4,), precision=("int8",), ahead=True)
    assert [one.state for one in again.rungs] == ["kept", "refused"]
    assert again.rungs[1].reason == int8.reason


@pytest.mark.usefixtures("rtx", "cache")
def test_a_refused_fp32_rung_has_nothing_in_its_place(tmp_path: Path) -> None:
    broken = with_strange_node(tmp_path / "bundle", "s4-fp32")
    report = build(broken, backend="tensorrt-rtx", tokens=(4,), precision=("fp32",), ahead=True)
    assert not report.complete
    assert [(one.state, one.instead) for one in report.rungs] == [("refused", "")]
    assert report.notes[0].endswith("no other rung takes its place")


@pytest.mark.usefixtures("rtx", "cache")
def test_strict_takes_no_other_rung(tmp_path: Path) -> None:
    broken = with_strange_node(tmp_path / "bundle")
    report = build(broken, backend="tensorrt-rtx", tokens=(4,), precision=("int8",), ahead=True, strict=True)
    assert [(one.rung.name, one.state, one.instead) for one in report.rungs] == [("s4-int8", "refused", "")]
    assert not report.complete
    assert "blocks.3/Strange" in report.notes[0]


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "other.bin", "*/_ORT_MEM_ADDR_/*"])
def test_data_outside_the_bundle_are_never_opened(tmp_path: Path, cache: Path, location: str) -> None:
    hostile = with_outside_data(tmp_path / "bundle", location)
    (tmp_path / "secret").write_bytes(bytes(4096))
    with pytest.raises(BundleError, match="keeps its data in"):
        build(hostile, backend="tensorrt-rtx", tokens=(4,), precision=("int8",), ahead=True)
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("rtx", "cache")
def test_an_altered_weights_file_is_refused(tmp_path: Path) -> None:
    folder = with_strange_node(tmp_path / "bundle")
    weights = folder / "fp32.bin"
    weights.write_bytes(bytes(len(weights.read_bytes())))
    with pytest.raises(BundleError, match="altered or damaged"):
        build(folder, backend="tensorrt-rtx", precision=("fp32",), ahead=True)


def test_a_missing_library_says_how_to_get_it(
    bundle: Path, cache: Path, foundry_edge: Run, tmp_path: Path
) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object')")
    result = foundry_edge("build", bundle, "--backend", "tensorrt", PYTHONPATH=str(tmp_path))
    assert result.returncode == 3, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "libnvinfer.so.10" in result.stderr
    assert "JetPack" in result.stderr
    assert result.stdout == ""
    assert not cache.exists()


def test_modules_of_the_folder_one_stands_in_are_not_imported(
    bundle: Path, foundry_edge: Run, tmp_path: Path
) -> None:
    for name in ("tensorrt", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted module was run')")
    result = foundry_edge("build", bundle, "--backend", "tensorrt")
    assert result.returncode == 3
    assert "planted" not in result.stderr


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "tensorflow"}, "expected tensorrt or tensorrt-rtx"),
        ({"tokens": (3,)}, "no rung for --tokens 3"),
        ({"precision": ("fp16",)}, "no rung for --precision fp16"),
        ({"max_batch": 0}, "expected 1 to 32"),
        ({"max_batch": 33}, "expected 1 to 32"),
        ({"timeout": 0.0}, "expected more than 0 seconds"),
        ({"timeout": float("nan")}, "expected more than 0 seconds"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_started(
    bundle: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        build(bundle, **{"backend": "tensorrt-rtx", **options})  # type: ignore[arg-type]


@pytest.mark.usefixtures("rtx")
def test_the_command_prints_a_table_and_json(bundle: Path, foundry_edge: Run) -> None:
    options = ("--backend", "tensorrt-rtx", "--tokens", "1", "--precision", "int8", "--max-batch", "4")
    result = foundry_edge("build", bundle, *options, "--ahead", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["schema"] == 1
    assert found["bundle"] == {"id": "tiny-1", "source": "path"}
    (rung,) = found["rungs"]
    assert (rung["rung"], rung["state"], rung["checked"]) == ("s1-int8", "built", "built ahead, not run")
    assert rung["batch"] == {"min": 1, "opt": 4, "max": 4}
    assert rung["bytes"] > 0
    assert "building s1-int8" in result.stderr
    again = foundry_edge("build", bundle, *options, "--ahead", COLUMNS="150")
    assert again.returncode == 0, again.stderr
    assert "kept (built ahead, not run)" in again.stdout
    assert again.stderr == ""


@pytest.mark.usefixtures("rtx")
def test_a_rung_without_a_plan_is_exit_1(tmp_path: Path, foundry_edge: Run) -> None:
    broken = with_strange_node(tmp_path / "bundle", "s4-fp32")
    options = ("--backend", "tensorrt-rtx", "--ahead", "--tokens", "4", "--precision", "fp32")
    result = foundry_edge("build", broken, *options)
    assert result.returncode == 1
    assert "blocks.3/Strange" in result.stderr
    assert "Traceback" not in result.stderr


def test_neither_torch_nor_onnx_nor_the_library_is_imported_by_the_builder() -> None:
    result = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


@pytest.mark.usefixtures("rtx", "cache")
def test_tensorrt_itself_is_not_built_ahead(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foundry_edge_export.tensorrt import builder
    from foundry_edge_export.tensorrt.site import Site

    site = Site(version="10.3.0", no_device="no driver").model_dump(mode="json")
    monkeypatch.setattr(builder, "ask", lambda *_, **__: (site, []))
    with pytest.raises(BackendError, match=r"for the GPU at hand alone, and there is none \(no driver\)"):
        build(bundle, backend="tensorrt")
    assert load_bundle(bundle).manifest.id == "tiny-1"
