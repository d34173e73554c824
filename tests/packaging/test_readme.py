"""The README is run: its commands in their order in one directory, its Python, its links.

A block that takes minutes carries `<!-- test: skip reason -->` on the line before it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

from tests.packaging.readme import SHELL, Block, blocks, local_links

pytestmark = pytest.mark.timeout(900)

MOST_SKIPPED = 3
# What a reader types but the tests do not: `pytest` is this very run, the others fetch or enter the clone.
NOT_RUN = {"pytest", "git", "cd", "source", "."}
TEST_COMMAND = 'pip install -c constraints.txt -e ".[dev]" && pytest'


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def workplace(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as the README assumes it: the examples, and a scan of one's own."""
    root = tmp_path_factory.mktemp("readme")
    shutil.copytree(repository / "examples", root / "examples")
    shutil.copy(repository / "examples" / "chair.pcd", root / "scan.pcd")
    return root


def run(command: list[str], cwd: Path) -> None:
    """Run one documented command as typed; it must succeed."""
    environment = os.environ | {"HOME": str(cwd / "home"), "XDG_CACHE_HOME": str(cwd / "home" / "cache")}
    result = subprocess.run(
        command, cwd=cwd, env=environment, text=True, capture_output=True, check=False, timeout=300
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"


def check_pip(words: list[str], repository: Path) -> None:
    """A documented `pip install`: its extras and its constraint files exist."""
    assert words[1] == "install", words
    for word, after in zip(words[2:], [*words[3:], ""], strict=True):
        extras = re.fullmatch(r"(?:\.|foundry-edge)\[([\w,-]+)\]", word)
        known = word in {".", "-e", "-c", "foundry-edge"} or words[words.index(word) - 1] == "-c"
        assert extras or known, f"pip would take {word!r} for a package: {' '.join(words)}"
        if extras:
            assert set(extras[1].split(",")) <= set(metadata("foundry-edge").get_all("Provides-Extra") or ())
        if word == "-c":
            assert (repository / after).is_file()


def run_shell(block: Block, repository: Path, cwd: Path) -> None:
    """Check or run every command of a shell block."""
    for words in block.commands:
        if words[0] == "pip":
            check_pip(words, repository)
        elif words[0] == "foundry-edge":
            run([str(Path(sys.executable).with_name("foundry-edge")), *words[1:]], cwd)
        elif words[0] in {"python", "python3"}:
            run([sys.executable, *words[1:]], cwd)
        else:
            assert words[0] in NOT_RUN, f"the README test does not know how to check: {' '.join(words)}"


def test_readme_commands_and_python_run(readme: str, repository: Path, workplace: Path) -> None:
    for block in blocks(readme):
        if block.skip:
            continue
        if block.language in SHELL:
            run_shell(block, repository, workplace)
        elif block.language == "python":
            run([sys.executable, "-W", "error", "-c", block.body], workplace)


def test_readme_skips_few_blocks_and_says_why() -> None:
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    skipped = [block.skip for block in blocks(text) if block.skip]
    assert len(skipped) <= MOST_SKIPPED
    assert all(len(reason.split()) >= 3 for reason in skipped)
    assert text.count("<!-- test:") == len(skipped), "a test comment stands before no fenced block"


def test_ci_finds_the_two_set_up_commands(readme: str, repository: Path) -> None:
    patterns = re.findall(
        r"\$\(readme_line '(.*)'\)", (repository / ".ci" / "run").read_text(encoding="utf-8")
    )
    lines = [line for pattern in patterns for line in readme.splitlines() if re.fullmatch(pattern, line)]
    assert len(patterns) == len(lines) == 2
    assert lines[0] == TEST_COMMAND
    assert lines[1].startswith("pip install . && foundry-edge run examples/")


def test_readme_links_and_images_exist(readme: str, repository: Path) -> None:
    assert [link for link in local_links(readme) if not (repository / link).exists()] == []


def test_blocks_are_found_with_their_commands() -> None:
    text = (
        "```console\n$ foundry-edge run a.pcd && ls  # x\noutput\n```\n"
        "<!-- test: skip takes minutes here -->\n```sh\npip install \\\n  .\n```\n"
        "[a](b.md#c) ![i](https://x/y.png) ```\n"
    )
    first, second = blocks(text)
    assert first.commands == [["foundry-edge", "run", "a.pcd"], ["ls"]]
    assert (second.commands, second.skip) == ([["pip", "install", "."]], "takes minutes here")
    assert local_links(text) == ["b.md"]


def test_unknown_extras_and_packages_are_caught(repository: Path) -> None:
    check_pip(["pip", "install", "foundry-edge[train,export]"], repository)
    with pytest.raises(AssertionError):
        check_pip(["pip", "install", "foundry-edge[trian]"], repository)
    with pytest.raises(AssertionError):
        check_pip(["pip", "install", "foundry_edgy"], repository)
