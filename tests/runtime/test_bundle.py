"""Finding, opening and verifying bundles; every kind of damage is one clear error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundry_edge_runtime.bundle import locate
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.errors import BundleError
from tests.runtime.tiny_bundle import build_graph, file_ref, read_manifest, write_bundle, write_manifest


def damaged(folder: Path) -> BundleError:
    """The error that verifying gives; the very same must come from opening every rung."""
    with pytest.raises(BundleError) as verifying:
        load_bundle(folder).verify()
    bundle = load_bundle(folder)
    with pytest.raises(BundleError) as opening:
        _ = [bundle.graph(rung) for rung in bundle.manifest.rungs]
    assert str(opening.value) == str(verifying.value)
    assert "\n" not in str(verifying.value)
    return verifying.value


def test_intact_bundle_verifies(bundle_folder: Path) -> None:
    bundle = load_bundle(bundle_folder)
    names = {ref.name for ref in bundle.verify()}
    assert names == {path.name for path in bundle_folder.iterdir()} - {"manifest.json"}
    assert bundle.source == "path"


def test_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named, variable = write_bundle(tmp_path / "named"), write_bundle(tmp_path / "variable")
    embedded = write_bundle(tmp_path / "package")
    monkeypatch.setattr(locate, "EMBEDDED", embedded)
    assert (load_bundle().folder, load_bundle().source) == (embedded, "embedded")
    write_bundle(tmp_path / "foundry-out" / "bundle")
    assert (load_bundle().folder, load_bundle().source) == (Path("foundry-out/bundle"), "path")
    monkeypatch.setenv("FOUNDRY_EDGE_BUNDLE", str(variable))
    assert (load_bundle().folder, load_bundle().source) == (variable, "environment")
    assert (load_bundle(named).folder, load_bundle(named).source) == (named, "path")


def test_named_bundle_that_is_missing_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "foundry-out" / "bundle")
    with pytest.raises(BundleError, match="nosuch: the folder named does not exist"):
        load_bundle("nosuch")
    monkeypatch.setenv("FOUNDRY_EDGE_BUNDLE", "gone")
    with pytest.raises(BundleError, match="FOUNDRY_EDGE_BUNDLE names does not exist"):
        load_bundle()


def test_no_bundle_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locate, "EMBEDDED", tmp_path / "nowhere")
    with pytest.raises(BundleError, match="no embedded bundle; make one with `foundry-edge distill`"):
        load_bundle()


def test_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no manifest\.json"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["s4-fp32.onnx", "s1-int8.onnx", "fp32.bin", "int8.bin"])
@pytest.mark.parametrize("at", [0, -1])
def test_flipped_bit(bundle_folder: Path, name: str, at: int) -> None:
    path = bundle_folder / name
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    error = damaged(bundle_folder)
    assert error.where == str(path)
    assert "SHA-256" in str(error)


def test_missing_file(bundle_folder: Path) -> None:
    (bundle_folder / "fp32.bin").unlink()
    assert "fp32.bin: cannot be opened: No such file" in str(damaged(bundle_folder))


def test_truncated_and_grown_file(bundle_folder: Path) -> None:
    path = bundle_folder / "int8.bin"
    content = path.read_bytes()
    for other in (content[:-1], content + b"\0"):
        path.write_bytes(other)
        assert f"expected {len(content)} bytes, found {len(other)}" in str(damaged(bundle_folder))


def test_symbolic_link_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.bin"
    (bundle_folder / "fp32.bin").rename(outside)
    (bundle_folder / "fp32.bin").symlink_to(outside)
    assert "is a symbolic link" in str(damaged(bundle_folder))


def test_hard_link_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    os.link(bundle_folder / "fp32.bin", tmp_path / "other-name")
    assert "2 names (hard links)" in str(damaged(bundle_folder))


def test_embedded_bundle_may_be_installed_by_hard_link(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in list(bundle_folder.iterdir()):
        os.link(path, tmp_path / f"cached-{path.name}")
    monkeypatch.setattr("foundry_edge_runtime.bundle.load.EMBEDDED", bundle_folder.resolve())
    assert load_bundle(bundle_folder).verify()


def test_fifo_in_the_place_of_a_file_does_not_hang(bundle_folder: Path) -> None:
    (bundle_folder / "fp32.bin").unlink()
    os.mkfifo(bundle_folder / "fp32.bin")
    assert "is no regular file" in str(damaged(bundle_folder))


def test_linked_manifest_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    (bundle_folder / "manifest.json").rename(tmp_path / "elsewhere.json")
    (bundle_folder / "manifest.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(BundleError, match=r"manifest\.json: is a symbolic link"):
        load_bundle(bundle_folder)


def test_file_swapped_for_another_rungs_file(bundle_folder: Path) -> None:
    (bundle_folder / "s4-fp32.onnx").write_bytes((bundle_folder / "s4-int8.onnx").read_bytes())
    assert (bundle_folder / "s4-fp32.onnx").name in str(damaged(bundle_folder))


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "s1-fp32.onnx", "./fp32.bin", ""])
def test_graph_that_refers_elsewhere(bundle_folder: Path, location: str) -> None:
    path = bundle_folder / "s4-fp32.onnx"
    path.write_bytes(build_graph("fp32", 4, location))
    _change_rung(bundle_folder, "s4-fp32", lambda rung: rung.update(graph=file_ref(path)))
    assert f"keeps its data in {location!r}, expected fp32.bin" in str(damaged(bundle_folder))


def _change_rung(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = read_manifest(folder)
    for rung in manifest["rungs"]:
        if f"s{rung['tokens']}-{rung['precision']}" == name:
            change(rung)
    write_manifest(folder, manifest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "made by a newer foundry-edge (schema 2, this one reads up to 1); upgrade"),
        ({"schema_version": 99, "width": "wide"}, "made by a newer foundry-edge (schema 99, "),
        ({"schema_version": 0}, "schema_version: Input should be greater than or equal to 1, found '0'"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"width": "wide"}, "width: Input should be a valid integer"),
        ({"rungs": []}, "rungs: "),
        ({"preprocessing": {"points": 0}}, "preprocessing.points: "),
        ({"min_score": 2}, "min_score: "),
    ],
)
def test_wrong_schema_names_the_field(bundle_folder: Path, change: dict[str, Any], message: str) -> None:
    write_manifest(bundle_folder, {**read_manifest(bundle_folder), **change})
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle_folder)
    assert caught.value.where == str(bundle_folder / "manifest.json")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["../fp32.bin", "/etc/passwd", "a/b", "..", ".hidden", "", "x\n"])
def test_file_names_are_plain(bundle_folder: Path, name: str) -> None:
    manifest = read_manifest(bundle_folder)
    manifest["rungs"][0]["weights"]["name"] = name
    write_manifest(bundle_folder, manifest)
    with pytest.raises(BundleError, match=r"rungs\.0\.weights\.name: String should match pattern"):
        load_bundle(bundle_folder)


def test_rung_listed_twice_and_file_listed_unlike(bundle_folder: Path) -> None:
    manifest = read_manifest(bundle_folder)
    write_manifest(bundle_folder, {**manifest, "rungs": [*manifest["rungs"], manifest["rungs"][0]]})
    with pytest.raises(BundleError, match="rung s1-fp32 is listed twice"):
        load_bundle(bundle_folder)
    manifest["rungs"][0]["weights"] = {**manifest["rungs"][0]["weights"], "bytes": 1}
    write_manifest(bundle_folder, manifest)
    with pytest.raises(BundleError, match=r"file fp32\.bin is listed with different sizes"):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema_version": 1}'])
def test_manifest_that_is_no_manifest(bundle_folder: Path, content: bytes) -> None:
    (bundle_folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json: "):
        load_bundle(bundle_folder)


def test_huge_manifest_is_not_read(bundle_folder: Path) -> None:
    with (bundle_folder / "manifest.json").open("r+b") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(BundleError, match="is larger than"):
        load_bundle(bundle_folder)


def test_weights_are_hashed_once_for_each_bundle_object(bundle_folder: Path) -> None:
    bundle: Bundle = load_bundle(bundle_folder)
    first, second = bundle.manifest.rungs[:2]
    bundle.graph(first)
    (bundle_folder / "fp32.bin").write_bytes(b"")
    assert bundle.graph(second).content
    with pytest.raises(BundleError, match="expected 216 bytes"):
        load_bundle(bundle_folder).graph(second)
