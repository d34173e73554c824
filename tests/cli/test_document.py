"""What docs/runtime.md tells people to type works as typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.packaging.readme import blocks

DOCUMENT = Path("docs") / "runtime.md"


@pytest.fixture
def scans_here(here: Path, repository: Path) -> None:
    (here / "scans").mkdir()
    shutil.copy(repository / "examples" / "chair.pcd", here / "scan.pcd")
    shutil.copy(repository / "examples" / "sofa.ply", here / "scans")


@pytest.mark.usefixtures("scans_here")
def test_commands(called: Run, here: Path, part_bundle: Path, repository: Path) -> None:
    typed = [one for one in blocks((repository / DOCUMENT).read_text()) if one.language == "sh"]
    # scenes need graphs that the default bundle lacks: tests/scenes runs them
    everything = [words for one in typed for words in one.commands if words[0] == "foundry-edge"]
    commands = [words for words in everything if not {"|", "--scene"} & set(words)]
    assert len(commands) == 16
    for words in commands:
        result = called(*words[1:], FOUNDRY_EDGE_BUNDLE=str(part_bundle))
        assert result.returncode == 0, result.stderr
        assert result.stdout
    for name in ("done.jsonl", "scan.html", "parts.html", "out/sofa.ply.npz"):
        assert (here / name).is_file()


@pytest.mark.usefixtures("scans_here")
def test_python(here: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = [one.body for one in blocks((repository / DOCUMENT).read_text()) if one.language == "python"]
    # the one left out compiles the grouping, which takes long, and is tested in tests/grouping
    run = [body for body in typed if "accelerate" not in body]
    monkeypatch.chdir(here)
    monkeypatch.delenv("FOUNDRY_EDGE_BUNDLE", raising=False)  # the embedded one knows the chair
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    for body in run:
        own: dict[str, object] = {}
        exec(body, own)
        names |= own
    assert {"result", "parts"} <= set(names)
    assert len(run) == len(typed) - 1 == 2
