"""`run --parts` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Run


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", np.random.default_rng(3).normal(size=(400, 3)).astype(np.float32))
    return tmp_path / "a.npy"


def test_a_table_of_parts_for_people(called: Run, part_bundle: Path, scan: Path) -> None:
    result = called("run", scan, "--bundle", part_bundle, "--parts", "--category", "robot")
    assert result.returncode == 0, result.stderr
    for text in ("Parts of Robot (named with --category)", "part", "points", "share", "foot", "right ärm"):
        assert text in result.stdout
    chosen = called("run", scan, "--bundle", part_bundle, "--parts")
    assert "the most probable class that has parts, " in chosen.stdout


def test_json_says_whose_parts_and_counts_them(called: Run, part_bundle: Path, scan: Path) -> None:
    result = called("run", scan, "--bundle", part_bundle, "--parts", "--category", "Chair", "--json")
    parts = json.loads(result.stdout)["parts"]
    assert {"category", "score", "named", "counts", "ms"} == set(parts)
    assert parts["named"] is True
    assert 0 < parts["score"] < 1
    assert set(parts["counts"]) == {"lower", "upper"}
    assert sum(parts["counts"].values()) == 400


def test_one_of_many_scans_is_a_line_with_its_parts(called: Run, part_bundle: Path, scan: Path) -> None:
    result = called("run", scan.parent, "--bundle", part_bundle, "--parts", "--category", "Chair")
    assert result.returncode == 0, result.stderr
    assert "Chair: " in result.stdout
    assert " %" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--parts", "--category", "cat"), "no category 'cat' has parts; name one of Chair, DeskLamp, Robot"),
        (("--category", "Chair"), "--category: names whose parts are wanted; add --parts"),
        (("--parts", "--scene"), "--parts: names the parts of a single object"),
        (("--category", "Chair", "--scene"), "--category: means nothing with --scene"),
    ],
)
def test_bad_options_are_one_line(
    called: Run, part_bundle: Path, scan: Path, options: tuple[str, ...], message: str
) -> None:
    result = called("run", scan, "--bundle", part_bundle, *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_bundle_without_parts(called: Run, bundle: Path, part_bundle: Path, scan: Path) -> None:
    result = called("run", scan, "--bundle", bundle, "--parts")
    assert result.returncode == 2
    assert "has no head for parts; train one with `foundry-edge finetune --task parts" in result.stderr
    assert "no parts" in called("bundle", "show", bundle).stdout
    shown = called("bundle", "show", part_bundle).stdout
    assert "6 parts of 3 categories" in " ".join(shown.split())
