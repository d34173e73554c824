"""R3: 20,000 seeded mutants over all formats: points that keep the policy, or one clear error each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MUTANTS = 20_000
SCRIPT = """
import json, sys
sys.path.insert(0, {root!r})
from benchmarks.fuzz_readers import fuzz
import resource
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = fuzz({mutants}, seed=20261122)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start
print(json.dumps([report.crashes, sum(report.outcomes.values()), report.slowest[0], grown / 1024,
                  sorted({{name for name, _ in report.outcomes}})]))
"""


@pytest.mark.timeout(240)
def test_no_mutant_crashes_hangs_or_grows_the_memory(repository: Path) -> None:
    from benchmarks.scan_samples import SAMPLES

    script = SCRIPT.format(root=str(repository), mutants=MUTANTS)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=230, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    crashes, total, slowest, grown_mib, names = json.loads(done.stdout)
    assert crashes == []
    assert total == MUTANTS
    assert names == sorted(SAMPLES)
    assert slowest < 5
    assert grown_mib < 256


def test_a_mutant_that_breaks_the_policy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer itself is not blind: a reader that raises something else is reported."""
    from benchmarks import fuzz_readers

    def broken(*_: object) -> list[object]:
        raise KeyError("field")

    monkeypatch.setattr(fuzz_readers, "scans_in", broken)
    report = fuzz_readers.fuzz(5)
    assert len(report.crashes) == 5
