"""`run` on a mesh: its surface or its vertices, and seeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foundry_edge.cli.app import app

CUBE = "OFF\n8 6 0\n" + "\n".join(f"{x} {y} {z}" for x in (0, 1) for y in (0, 1) for z in (0, 1))
FACES = "4 0 1 3 2\n4 4 6 7 5\n4 0 4 5 1\n4 2 3 7 6\n4 0 2 6 4\n4 1 5 7 3\n"


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    path = tmp_path / "cube.off"
    path.write_text(f"{CUBE}\n{FACES}")
    return path


def test_a_mesh_is_sampled_or_its_vertices_are_taken(cube: Path) -> None:
    counts = {}
    for option in ("--surface", "--vertices"):
        done = CliRunner().invoke(app, ["run", str(cube), option, "--json"])
        assert done.exit_code == 0, done.output
        counts[option] = json.loads(done.stdout)["points"]["valid"]
    assert counts["--vertices"] == 8
    assert counts["--surface"] > 1000
