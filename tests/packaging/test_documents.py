"""Documents that name files or people: CONTRIBUTING.md, NOTICE, examples/README.md."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.packaging.readme import blocks, local_links

PATH = re.compile(r"`((?:[\w.-]+/)*[\w.-]+(?:/|\.(?:py|md|toml|txt|npz|json|pcd|ply)))`")
RUNTIME_NAMES = {"manifest.json", "scan.pcd"}  # files that commands write or users bring


def named_paths(text: str) -> list[str]:
    """Every path in backticks."""
    return [name for name in PATH.findall(text) if name not in RUNTIME_NAMES]


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "examples/README.md", "README.md"])
def test_every_path_named_in_a_document_exists(repository: Path, document: str) -> None:
    text = (repository / document).read_text(encoding="utf-8")
    missing = [name for name in named_paths(text) if not (repository / name).exists()]
    assert missing == []


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "examples/README.md", "CHANGELOG.md"])
def test_links_of_a_document_exist(repository: Path, document: str) -> None:
    text = (repository / document).read_text(encoding="utf-8")
    base = (repository / document).parent
    assert [link for link in local_links(text) if not (base / link).exists()] == []


def test_contributing_names_many_paths_and_the_checks(repository: Path) -> None:
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(named_paths(text)) >= 15
    typed = {" ".join(words) for block in blocks(text) for words in block.commands}
    assert {"pytest", "ruff check .", "ruff format --check .", "mypy", "lint-imports"} <= typed


def test_notice_credits_every_shape(repository: Path) -> None:
    notice = " ".join((repository / "NOTICE").read_text(encoding="utf-8").split())
    data = np.load(repository / "foundry_edge" / "assets" / "furniture.npz", allow_pickle=False)
    assert {str(name) for name in data["licence"]} <= {"CC-BY-3.0", "CC-BY-3.0-US", "CC0-1.0"}
    for creator, name, url in zip(data["creator"], data["name"], data["url"], strict=True):
        assert f" {creator}: " in notice
        assert str(name) in notice
        assert str(url) in notice


def test_notice_is_what_the_script_writes(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    from make_notice import HEADING, SAMPLES, read_credits, section

    notice = (repository / "NOTICE").read_text(encoding="utf-8")
    assert notice.partition(HEADING)[1:] == (HEADING, section(read_credits(SAMPLES)).removeprefix(HEADING))


@pytest.mark.parametrize(("argument", "code"), [("--help", 0), ("--nosuch", 2)])
def test_notice_is_written_only_without_arguments(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, code: int
) -> None:
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import make_notice

    monkeypatch.setattr(make_notice, "NOTICE", tmp_path / "NOTICE")
    (tmp_path / "NOTICE").write_text("as it was")
    monkeypatch.setattr("sys.argv", ["make_notice.py", argument])
    with pytest.raises(SystemExit) as stop:
        make_notice.main()
    assert stop.value.code == code
    assert (tmp_path / "NOTICE").read_text() == "as it was"
