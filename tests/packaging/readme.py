"""Read what README.md asks people to type."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

FENCE = re.compile(
    r"^(?:<!-- test: skip (?P<reason>[^\n]*?) -->\n+)?```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?P<link>[^)\s]+)[^)]*\)|\b(?:src|href|srcset)=\"(?P<attribute>[^\"]+)\"")
SHELL = ("sh", "console", "bash")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and why the tests do not run it (empty: they do)."""

    language: str
    body: str
    skip: str

    @property
    def commands(self) -> list[list[str]]:
        """The shell commands as argument lists; in a console block only lines after `$ ` count."""
        lines = self.body.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        parts = [part for line in lines for part in line.split("&&")]
        return [words for words in (shlex.split(part, comments=True) for part in parts) if words]


def blocks(text: str) -> list[Block]:
    """Every fenced block, in order."""
    found = FENCE.finditer(text)
    return [Block(match["language"], match["body"], match["reason"] or "") for match in found]


def local_links(text: str) -> list[str]:
    """Every link and image that points into the repository, without its anchor."""
    prose = FENCE.sub("", text)
    targets = [match["link"] or match["attribute"] for match in LINK.finditer(prose)]
    return [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
