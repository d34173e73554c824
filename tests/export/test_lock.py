"""One exporter at a time: the others wait, then find the work done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from foundry_edge_export.lock import locked
from foundry_edge_runtime import load_bundle

EXPORTER = """
import sys, json
from foundry_edge_export import export
student, out, count = sys.argv[1:]
report = export(student, tokens=(int(count),), precision=("fp32",), out=out)
print(json.dumps([draft.fresh for draft in report.rungs]))
"""
COUNTER = """
import sys, time
from pathlib import Path
from foundry_edge_export.lock import locked
folder, counter = Path(sys.argv[1]), Path(sys.argv[2])
for _ in range(30):
    with locked(folder):
        value = int(counter.read_text())
        time.sleep(0.001)
        counter.write_text(str(value + 1))
"""


def _start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_nobody_works_at_the_same_time_and_no_lock_file_stays(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    workers = [_start(COUNTER, tmp_path / "bundle", counter) for _ in range(4)]
    for worker in workers:
        assert worker.communicate()[1] == ""
    assert counter.read_text() == "120"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


def test_waiting_is_said_once(tmp_path: Path) -> None:
    told: list[str] = []
    folder = tmp_path / "bundle"
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom foundry_edge_export.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(0.5)\n"
    )
    holder = _start(script, folder)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with locked(folder, waiting=lambda: told.append("waiting")):
        assert holder.wait() == 0
    holder.communicate()
    assert told == ["waiting"]


def test_concurrent_exporters_lose_nothing_and_build_nothing_twice(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    exporters = [_start(EXPORTER, models / "student", out, count) for count in (1, 2, 2)]
    outputs = [exporter.communicate() for exporter in exporters]
    assert [error for _, error in outputs] == ["", "", ""]
    built = [json.loads(text)[0] for text, _ in outputs]
    assert sorted(built[1:]) == [False, True]
    assert built[0]
    bundle = load_bundle(out)
    bundle.verify()
    assert [rung.name for rung in bundle.manifest.rungs] == ["s1-fp32", "s2-fp32"]
