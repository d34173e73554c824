"""`--cluster` on a Ray of this machine with two actors: the results of a single process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import load_bundle
from foundry_edge_runtime.errors import InputError, MissingExtraError
from foundry_edge_runtime.profile import empty_profile
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.run import run
from foundry_edge_runtime.streams import cluster
from foundry_edge_runtime.streams.cluster import Cluster
from foundry_edge_runtime.streams.items import Item, Stop
from foundry_edge_runtime.streams.worker import Setup

RNG = np.random.default_rng(77)
PROGRAM = Path(sys.executable).with_name("foundry-edge")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(12):
        np.save(folder / f"{number:02}.npy", RNG.normal(size=(200, 3)))
    (folder / "05.pcd").write_bytes(b"VERSION .7\n")
    return folder


def records(*arguments: str | Path, **variables: str) -> tuple[int, list[dict[str, Any]], str]:
    token = {"RAY_AUTH_TOKEN": "0123456789abcdef" * 2}  # else Ray keeps one in the home
    done = subprocess.run(
        [str(PROGRAM), "run", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **token, **variables},
        timeout=280,
        check=False,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster")
def test_home_that_takes_no_token_is_one_line(scans: Path, bundle_folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("no folder")
    status, _, told = records(
        scans, "--bundle", bundle_folder, "--cluster", "auto", HOME=str(home), RAY_AUTH_TOKEN=""
    )
    assert status == 3
    assert "RAY_AUTH_TOKEN" in told.splitlines()[-1]
    assert "Traceback" not in told


@pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster")
def test_results_are_those_of_a_single_process(scans: Path, bundle_folder: Path, tmp_path: Path) -> None:
    plain = records(scans, "--bundle", bundle_folder)
    ledger = tmp_path / "ledger"
    shared = records(
        scans, "--bundle", bundle_folder, "--cluster", "auto", "--workers", "2", "--ledger", ledger
    )
    assert plain[0] == shared[0] == 1
    assert len(plain[1]) == len(shared[1]) == 13
    for one, same in zip(plain[1], shared[1], strict=True):
        for record in (one, same):
            record.pop("latency_ms", None)
        assert one == same
    assert shared[2].splitlines()[-1] == "foundry-edge: 13 scans in: 12 done, 1 failed, 0 dropped"
    assert "Traceback" not in shared[2]


class FakeRay:
    """Ray as far as `Cluster` goes; what `map_batches` is asked for is kept."""

    def __init__(self, gpus: float) -> None:
        self.gpus, self.asked = gpus, dict[str, Any]()
        self.exceptions = SimpleNamespace(RayError=RuntimeError)
        self.data = SimpleNamespace(
            DataContext=SimpleNamespace(
                get_current=lambda: SimpleNamespace(execution_options=SimpleNamespace())
            ),
            from_items=lambda _: SimpleNamespace(map_batches=self.map_batches),
        )

    def is_initialized(self) -> bool:
        return True

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0, "GPU": self.gpus} if self.gpus else {"CPU": 2.0}

    def map_batches(self, _: object, **asked: Any) -> SimpleNamespace:
        self.asked = asked
        return SimpleNamespace(iter_rows=lambda: iter(()))


@pytest.mark.parametrize(
    ("backend", "gpus", "workers", "share"),
    [
        ("onnxruntime", 2, 2, None),
        ("onnxruntime:bf16", 2, 2, None),
        ("onnxruntime:cuda", 2, 2, 1.0),
        ("onnxruntime:tensorrt", 4, 1, 1.0),
        ("onnxruntime:cuda", 2, 3, 0.5),
        ("onnxruntime:cuda", 1, 3, 0.3333),
        ("onnxruntime:cuda", 0, 2, None),
    ],
)
def test_actors_ask_for_the_gpu_that_their_engine_needs(
    bundle_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    gpus: int,
    workers: int,
    share: float | None,
) -> None:
    """Ray hides every GPU from an actor that asks for none, and starts no actor that asks for too much."""
    ray = FakeRay(gpus)
    monkeypatch.setattr(cluster, "optional", lambda name, *_: ray if name == "ray" else ray.data)
    bundle = load_bundle(bundle_folder)
    profile = empty_profile(bundle.manifest)
    budget = Budget(backend=backend)
    setup = Setup(Path(), bundle.folder, "path", budget, False, False, profile, Options())
    said: list[str] = []
    actors = Cluster(bundle, setup, "auto", workers, said.append)
    assert list(actors.outcomes(iter([Item("a.npy")]), Stop())) == []
    assert ray.asked["num_gpus"] == share
    assert ray.asked["concurrency"] == workers
    told = [f"Ray knows of no GPU, which {backend} needs"]
    assert said == (told if "cuda" in backend and not gpus else [])


def test_refusals(scans: Path, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for options in ({"watch": True}, {"isolate": True}):
        with pytest.raises(InputError, match="--cluster computes a batch"):
            run(scans, bundle=bundle_folder, cluster="auto", **options)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"foundry-edge\[cluster\]"):
        run(scans, bundle=bundle_folder, cluster="auto")
