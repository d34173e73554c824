"""`run --parts`: the part of every point, whose parts they are, and what is left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime import Session, load_bundle, read_points
from foundry_edge_runtime.bundle import Manifest
from foundry_edge_runtime.errors import BackendError, BundleError, InputError
from foundry_edge_runtime.parts.category import Categories
from foundry_edge_runtime.parts.result import PartResult
from foundry_edge_runtime.point_files import save_points
from foundry_edge_runtime.result import Result, probabilities
from foundry_edge_runtime.run import run
from foundry_edge_runtime.viz.page import page_of
from foundry_edge_runtime.viz.scene import scene_of
from tests.runtime.tiny_bundle import LABELS, file_ref, read_manifest, write_bundle, write_manifest
from tests.runtime.tiny_parts import CATEGORIES, add_parts, part_graph

RNG = np.random.default_rng(41)
POINTS = RNG.normal(size=(500, 3)).astype(np.float32)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return add_parts(write_bundle(tmp_path / "parts-bundle"))


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", POINTS)
    return tmp_path / "a.npy"


def parts_of(bundle: Path, points: Any = POINTS, category: str | None = None) -> PartResult:
    with Session(load_bundle(bundle), parts=True, category=category) as session:
        found = session.run(points).parts
    assert found is not None
    return found


def test_every_point_has_the_part_that_the_graph_gives(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parts_of(bundle, category="chair")
    middle = read_points_mean()
    np.testing.assert_array_equal(found.part, POINTS[:, 2] > middle)
    assert found.counts == {"lower": int((found.part == 0).sum()), "upper": int((found.part == 1).sum())}
    monkeypatch.setattr("foundry_edge_runtime.parts.segmenter.BLOCK", 7)
    np.testing.assert_array_equal(parts_of(bundle, category="chair").part, found.part)


def read_points_mean() -> float:
    """Where z is 0 in the model's frame: the mean of the points the model sees."""
    from foundry_edge_runtime.grouping import Preprocessing
    from foundry_edge_runtime.grouping.group import sample
    from tests.runtime.tiny_bundle import GROUPS, SIZE

    spec = Preprocessing(points=64, groups=GROUPS, group_size=SIZE)
    return float(sample(POINTS, spec)[:, 2].mean(dtype=np.float64))


@pytest.mark.parametrize("points", [np.zeros((1, 3)), np.ones((9, 3)), RNG.normal(size=(2, 3)) + 1e6])
def test_degenerate_clouds_have_parts_too(bundle: Path, points: np.ndarray[Any, Any]) -> None:
    assert len(parts_of(bundle, points, "Chair").part) == len(points)


def test_the_category_is_the_most_probable_class_that_has_parts(bundle: Path) -> None:
    session = Session(load_bundle(bundle), parts=True)
    result = session.run(POINTS)
    assert result.logits is not None
    assert result.parts is not None
    scores = probabilities(result.logits)
    known = {one["name"]: scores[LABELS.index(one["label"])] for one in CATEGORIES if one["label"]}
    assert result.parts.category == max(known, key=lambda name: known[name])
    assert result.parts.score == pytest.approx(known[result.parts.category])
    assert not result.parts.named


@pytest.mark.parametrize(
    ("name", "category", "names"),
    [
        ("chair", "Chair", ("lower", "upper")),
        ("LAMP", "DeskLamp", ("left", "right")),
        ("desklamp", "DeskLamp", ("left", "right")),
    ],
)
def test_a_category_is_named_by_its_name_or_class(
    bundle: Path, name: str, category: str, names: tuple[str, ...]
) -> None:
    found = parts_of(bundle, category=name)
    assert (found.category, found.names, found.named) == (category, names, True)
    assert found.score is not None


def test_a_category_that_the_head_does_not_know_has_to_be_named(bundle: Path) -> None:
    found = parts_of(bundle, category="robot")
    assert found.score is None
    assert set(found.part) <= {0, 1}


def test_an_unlikely_category_is_warned_of_unless_it_was_named(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    never = replace(loaded, manifest=loaded.manifest.model_copy(update={"min_score": 1.0}))
    warnings = Session(never, parts=True).run(POINTS).warnings
    assert any("the parts are those of" in line and "--category" in line for line in warnings)
    named = Session(never, parts=True, category="Chair").run(POINTS).warnings
    assert not any("the parts are those of" in line for line in named)
    always = replace(loaded, manifest=loaded.manifest.model_copy(update={"min_score": 0.0}))
    assert Session(always, parts=True).run(POINTS).warnings == ()


def test_neither_class_nor_name_is_an_error_that_lists_the_categories(tmp_path: Path) -> None:
    headless = add_parts(write_bundle(tmp_path / "headless", head=False))
    with pytest.raises(InputError, match="no class that has parts; name one of Chair, DeskLamp, Robot"):
        Session(load_bundle(headless), parts=True)
    assert parts_of(headless, category="Robot").score is None
    strange = add_parts(write_bundle(tmp_path / "strange"), categories=[CATEGORIES[2]])
    with pytest.raises(InputError, match=r"--category: the head names no class .*; name one of Robot"):
        Session(load_bundle(strange), parts=True)
    engineless = Categories(load_bundle(add_parts(write_bundle(tmp_path / "engineless"))))
    with pytest.raises(InputError, match="the engine names no class"):
        engineless.choose(None)


def test_unknown_category_and_category_without_parts(bundle: Path, scan: Path) -> None:
    with pytest.raises(InputError, match="no category 'cat' has parts; name one of Chair, DeskLamp, Robot"):
        run(scan, bundle=bundle, parts=True, category="cat")
    for start in (lambda: run(scan, bundle=bundle, category="Chair"), lambda: Session(category="Chair")):
        with pytest.raises(InputError, match="--category: names whose parts are wanted; add --parts"):
            start()


def test_a_bundle_without_a_head_for_parts_says_how_to_get_one(bundle_folder: Path, scan: Path) -> None:
    for workers in (1, 2):
        with pytest.raises(InputError, match="bundle tiny-1 has no head for parts; train one with"):
            run(scan, bundle=bundle_folder, parts=True, workers=workers)


def test_record_npz_and_ply(bundle: Path, scan: Path, tmp_path: Path) -> None:
    (result,) = run(scan, bundle=bundle, parts=True, category="Robot", save=tmp_path / "out", per_point=True)
    assert isinstance(result, Result)
    assert result.parts is not None
    assert result.saved is not None
    assert result.points is not None
    record = result.as_json()["parts"]
    assert record["category"] == "Robot"
    assert record["score"] is None
    assert sum(record["counts"].values()) == 500
    with np.load(result.saved) as arrays:
        np.testing.assert_array_equal(arrays["part"], result.parts.part)
        assert arrays["part_names"].tolist() == ["foot", "right ärm"]
    np.testing.assert_array_equal(read_points(result.points).attributes["part"], result.parts.part)
    assert b"comment part 0 foot\ncomment part 1 right \\xe4rm\n" in result.points.read_bytes()


def test_files_without_parts_are_as_they_were(bundle: Path, tmp_path: Path) -> None:
    result = Session(load_bundle(bundle)).run(POINTS)
    assert "parts" not in result.as_json()
    assert b"part" not in save_points(result, tmp_path / "a.npz").read_bytes()[:400]


def test_folders_and_processes_give_the_same(bundle: Path, scan: Path) -> None:
    folder = scan.parent / "scans"
    folder.mkdir()
    for name in "ab":
        np.save(folder / f"{name}.npy", RNG.normal(size=(200, 3)).astype(np.float32))
    found = {}
    for workers, batch in ((1, 1), (1, 2), (2, 1)):
        results = list(run(folder, bundle=bundle, parts=True, category="Chair", workers=workers, batch=batch))
        parts = [one.parts for one in results if isinstance(one, Result)]
        found[workers, batch] = [one.part for one in parts if one is not None]
    for other in found.values():
        assert len(other) == 2
        for one, first in zip(other, found[1, 1], strict=True):
            np.testing.assert_array_equal(one, first)


def test_parquet_holds_no_parts(bundle: Path, scan: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--save: a Parquet file .*; give --save a folder"):
        run(scan, bundle=bundle, parts=True, save=tmp_path / "a.parquet")


def test_pages_and_pictures_are_coloured_by_part(bundle: Path, scan: Path, tmp_path: Path) -> None:
    result = Session(load_bundle(bundle), parts=True, category="Robot").run(read_points(scan))
    assert result.parts is not None
    scene = scene_of(result, most=250)
    assert scene.parts is not None
    pairs = {(int(n), *c) for n, c in zip(result.parts.part[::2], scene.parts.points.tolist(), strict=True)}
    assert len(pairs) == len({pair[1:] for pair in pairs}) == 2
    counts = result.parts.counts
    assert [name for name, _ in scene.parts.legend] == sorted(counts, key=lambda name: -counts[name])
    assert "parts of Robot" in scene.caption
    page = page_of(scene)
    assert '<button id="parts"' in page
    assert page.count("</li>") == 2
    assert "right ärm" in page
    pytest.importorskip("matplotlib", reason="needs the extra viz")
    list(run(scan, bundle=bundle, parts=True, category="Robot", viz=tmp_path / "a.png"))
    plain = tmp_path / "plain.png"
    list(run(scan, bundle=bundle, viz=plain))
    assert plain.read_bytes() != (tmp_path / "a.png").read_bytes()


def test_names_of_parts_cannot_break_out_of_the_page(bundle: Path) -> None:
    names = ("<script>alert(1)</script>", "@DATA@")
    add_parts(bundle, categories=[{**CATEGORIES[0], "names": names}])
    page = page_of(scene_of(Session(load_bundle(bundle), parts=True).run(POINTS), most=100))
    assert page.count("<script>") == 1
    assert page.count('"positions"') == 1


def test_files_of_the_head_are_verified(bundle: Path) -> None:
    names = {ref.name for ref in load_bundle(bundle).verify()}
    assert {"parts.onnx", "parts.bin"} <= names
    weights = bundle / "parts.bin"
    weights.write_bytes(bytes(reversed(weights.read_bytes())))
    with pytest.raises(BundleError, match=r"parts\.bin"):
        load_bundle(bundle).verify()
    with pytest.raises(BundleError, match=r"parts\.bin"):
        Session(load_bundle(bundle), parts=True)


def test_graphs_that_are_none_for_parts(bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(bundle)
    rung = next(one for one in manifest["rungs"] if one["precision"] == "fp32")
    swapped = {**manifest["parts"], "graph": rung["graph"], "weights": rung["weights"]}
    write_manifest(bundle, {**manifest, "parts": swapped})
    with pytest.raises(BundleError, match=r"is no graph of the head for parts: .*; export the bundle again"):
        Session(load_bundle(bundle), parts=True)
    many = [{**CATEGORIES[0], "parts": (0, 9)}]
    more = add_parts(write_bundle(tmp_path / "more"), categories=many)
    with pytest.raises(BundleError, match="gives 4 parts, the manifest names more"):
        parts_of(more)
    endless = add_parts(write_bundle(tmp_path / "endless"))
    (endless / "parts.onnx").write_bytes(part_graph("parts.bin", infinite=True))
    add = read_manifest(endless)
    add["parts"]["graph"] = file_ref(endless / "parts.onnx")
    write_manifest(endless, add)
    with pytest.raises(BackendError, match="not finite"):
        parts_of(endless)


@pytest.mark.parametrize(
    "category",
    [
        {**CATEGORIES[0], "names": ("lower",)},
        {**CATEGORIES[0], "parts": (-1, 0)},
        {**CATEGORIES[0], "parts": ()},
        {**CATEGORIES[0], "colour": "red"},
    ],
)
def test_a_section_of_another_form_is_refused(bundle: Path, category: dict[str, Any]) -> None:
    add_parts(bundle, categories=[category])
    with pytest.raises(BundleError, match=r"parts\.categories\.0"):
        load_bundle(bundle)


def test_a_manifest_without_the_section_loads(bundle_folder: Path) -> None:
    assert Manifest.model_validate(read_manifest(bundle_folder)).parts is None
