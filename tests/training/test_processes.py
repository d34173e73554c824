"""Two processes train what one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from foundry_edge.training.distill import distill
from foundry_edge.training.finetune import finetune
from foundry_edge.training.processes import Share
from foundry_edge_runtime.errors import InputError

SCRIPT = Path(__file__).with_name("process_run.py")
ALONE = [sys.executable]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def _run(prefix: list[str], *arguments: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*prefix, str(SCRIPT), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def _assert_alike(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """Four steps of 1e-3 moved the weights by up to 4e-3; AdamW blows rounding up where gradients vanish."""
    assert a.keys() == b.keys()
    apart = [(a[name].double() - b[name].double()).abs() for name in a]
    assert max(float(difference.mean()) for difference in apart) < 1e-5
    assert max(float(difference.max()) for difference in apart) < 4e-4


@pytest.mark.parametrize("objective", ["mae", "jepa"])
def test_two_processes_pretrain_what_one_does(objective: str, tmp_path: Path) -> None:
    for name, prefix in (("one", ALONE), ("two", TWO)):
        (tmp_path / name).mkdir()
        _run(prefix, objective, str(tmp_path / name))
    losses = [torch.load(tmp_path / name / "losses.pt") for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    one, two = (torch.load(tmp_path / name / "weights.pt") for name in ("one", "two"))
    _assert_alike(one, two)


def test_two_processes_distil_what_one_does(tmp_path: Path) -> None:
    _run(ALONE, "teacher", str(tmp_path / "teacher"))
    for name, prefix in (("one", ALONE), ("two", TWO)):
        _run(prefix, "distill", str(tmp_path / name))
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    _assert_alike(one, two)
    rows = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert [json.loads(r)["step"] for r in rows[0]] == [json.loads(r)["step"] for r in rows[1]] == [2, 4]


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert Share.of_this_process(8) == Share(slice(4, 8), 8)
    with pytest.raises(InputError, match="7 clouds cannot be shared evenly among 2 processes"):
        Share.of_this_process(7)


def test_what_is_not_made_for_several_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for start in (
        lambda: finetune("embedded:student", out=tmp_path / "out"),
        lambda: distill(method="kd-classification", out=tmp_path / "out"),
    ):
        with pytest.raises(InputError, match="runs in one process, and there are 2"):
            start()
    assert not (tmp_path / "out").exists()
