"""foundry-edge distill: a wrong value is one line that names the flag, before anything is computed."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run
from tests.cli.test_commands import error_line


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ("--query", "magic"),
            "--query: unknown value 'magic'; use one of located, anchored, cosine",
        ),
        (("--routing", "both"), "--routing: unknown value 'both'"),
        (("--residual", "none"), "--residual: unknown value 'none'"),
        (("--temperature", "1"), "--temperature: expected two numbers, got '1'"),
        (("--temperature", "1,0"), "--temperature: expected two positive numbers"),
        (("--method", "magic"), "--method: unknown method 'magic'; use one of dso, fps"),
        (("--method", "truncation", "--gate"), "--gate: means nothing to the method truncation"),
        (("--method", "truncation", "--depth", "13"), "--depth 13 exceeds the teacher's 12 blocks"),
        (
            ("--mixing-blocks", "12"),
            "--mixing-blocks 12, --attention-blocks 0 and --depth 1 exceed",
        ),
        (("--tokens", "4,65"), "--tokens must be ascending, distinct and within 1..64"),
        (("--depth", "0"), "--depth: Input should be greater than or equal to 1, got 0"),
    ],
)
def test_wrong_values(arguments: tuple[str, ...], named: str, called: Run) -> None:
    assert named in error_line(called("distill", *arguments), 2)


def test_help_promises_no_depth_of_none(called: Run) -> None:
    shown = " ".join(called("distill", "--help").stdout.split())
    assert "Blocks on the SuperTokens, 1 or more" in shown
