"""`--viz`: the picture, the page, and the page in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from foundry_edge_runtime import Session, load_bundle
from foundry_edge_runtime.errors import InputError, MissingExtraError
from foundry_edge_runtime.readers import as_cloud
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import run
from foundry_edge_runtime.viz.page import page_of
from foundry_edge_runtime.viz.scene import Scene, scene_of

RNG = np.random.default_rng(31)
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "a<b>$x$.npy"
    points = RNG.normal(size=(4000, 3)) * (2.0, 1.0, 0.3)
    np.save(path, points)
    return path


def drawn(scan: Path, bundle: Path, name: str) -> Path:
    path = scan.parent / "out" / name
    list(run(scan, bundle=bundle, viz=path))
    return path


def test_scene_is_the_cloud(bundle_folder: Path) -> None:
    cloud = as_cloud(RNG.normal(size=(1000, 3)) + 50)
    result = Session(load_bundle(bundle_folder)).run(cloud)
    scene = scene_of(result, most=300)
    assert len(scene.xyz) == len(scene.features) == len(scene.groups) == 250
    assert np.linalg.norm(scene.xyz, axis=1).max() <= 1 + 1e-6
    assert "1000 points, every 4th drawn" in scene.caption
    whole = scene_of(result, most=1000)
    assert np.linalg.norm(whole.xyz, axis=1).max() == pytest.approx(1)
    np.testing.assert_array_equal(whole.features[::4], scene.features)


def test_picture(scan: Path, bundle_folder: Path) -> None:
    image = pytest.importorskip("matplotlib.image", reason="needs the extra viz")
    pixels = image.imread(drawn(scan, bundle_folder, "a.png"))[:, :, :3]
    assert pixels.shape == (660, 1200, 3)
    background = pixels[2, 2]
    for half in (pixels[80:600, :600], pixels[80:600, 600:]):
        coloured = np.abs(half - background).max(axis=2) > 0.1
        assert coloured.mean() > 0.05
        assert len(np.unique((half[coloured] * 15).round(), axis=0)) > 8


def test_page_needs_nothing_beside_it(scan: Path, bundle_folder: Path) -> None:
    text = drawn(scan, bundle_folder, "a.html").read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|<link|<img|@import|\bfetch\(|XMLHttpRequest|src=", text)
    assert "a&lt;b&gt;$x$.npy" in text
    assert "a<b>" not in text


def test_names_cannot_break_out_of_the_page() -> None:
    points, colours = np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8)
    page = page_of(Scene(points, colours, colours, "</script><script>alert(1)//@DATA@", "@TITLE@ & <b>"))
    assert page.count("<script>") == 1
    assert page.count('"positions"') == 1
    assert "@TITLE@ &amp; &lt;b&gt;" in page


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
def test_page_turns_in_a_browser(scan: Path, bundle_folder: Path, tmp_path: Path) -> None:
    page = drawn(scan, bundle_folder, "a.html")
    body = _browser(page.as_uri(), tmp_path, "--dump-dom")
    drawn_points, azimuth = re.findall(r'<body data-drawn="(\d+)" data-azimuth="([\d.]+)"', body)[0]
    assert int(drawn_points) == 4000
    assert float(azimuth) > np.radians(35) + 0.01  # where it starts; how far it gets depends on the machine
    image = pytest.importorskip("matplotlib.image", reason="needs the extra viz")
    seen = []
    for view in ("azimuth=0", "azimuth=90", "azimuth=0&colour=groups"):
        shot = tmp_path / "shot.png"
        _browser(f"{page.as_uri()}#{view}", tmp_path, f"--screenshot={shot}")
        seen.append(image.imread(shot)[100:540, :, :3])
    lit = [np.abs(one - one[0, 0]).max(axis=2) > 0.1 for one in seen]
    assert all(one.mean() > 0.02 for one in lit)
    width, turned = (np.ptp(np.flatnonzero(one.any(axis=0))) for one in lit[:2])
    assert turned > 1.4 * width  # the cloud is longer along x than along y
    assert (lit[0] == lit[2]).mean() > 0.98
    assert np.abs(seen[0] - seen[2])[lit[0]].mean() > 0.1


def _browser(address: str, folder: Path, *arguments: str) -> str:
    assert BROWSER is not None
    quiet = (
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
    )
    command = [BROWSER, "--headless", "--no-sandbox", "--no-first-run", *quiet, "--window-size=800,600"]
    command += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--virtual-time-budget=2000"]
    command += [f"--user-data-dir={folder / 'browser'}", *arguments, address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_refusals(scan: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"--viz must end in \.png or \.html, found 'a\.jpg'"):
        run(scan, bundle=bundle_folder, viz="a.jpg")
    with pytest.raises(InputError, match="--viz draws one scan"):
        run(scan.parent, bundle=bundle_folder, viz="a.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"foundry-edge\[viz\]"):
        run(scan, bundle=bundle_folder, viz="a.png")


def test_page_needs_no_extra(scan: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (result,) = run(scan, bundle=bundle_folder, viz=scan.parent / "a.html")
    assert isinstance(result, Result)
    assert (scan.parent / "a.html").is_file()
