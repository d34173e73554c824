"""How far the encoder moves in the first steps of masked reconstruction, under two settings of AdamW.

    python benchmarks/second_moment.py --steps 120

Trains the same ViT-Ti from the same seed on the embedded samples: once with beta2 = 0.999 and torch's default
start of the reconstruction head, once as `pretrain` does (0.95, small start). Writes
benchmarks/results/second_moment.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from torch import nn

from foundry_edge.data.corpus import grouped_corpus, training_side
from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.data.samples import load_samples
from foundry_edge.models.config import VIT_TI
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.engine import LogRow, Step, train
from foundry_edge.training.mae import MaskedReconstruction
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.files import write_text

RESULTS = Path(__file__).resolve().parent / "results" / "second_moment.json"
VARIANTS = {"beta2 0.999, default head": (0.999, False), "beta2 0.95, small head": (0.95, True)}


class Watched(MaskedReconstruction):
    """Keeps the first gradient norm of the encoder, and how far a weight of its first block has come."""

    def __init__(self, data: GroupedShapes, small_head: bool) -> None:
        torch.manual_seed(0)
        teacher = Teacher(VIT_TI)
        index = torch.arange(min(len(data), 256))
        teacher.tokenizer.calibrate_batch_norm(data.batch(index, torch.zeros_like(index))[0])
        super().__init__(teacher, data)
        if not small_head:
            self.head = nn.Linear(self.head.in_features, self.head.out_features)
        self.start = self._watched().detach().clone()

    def _watched(self) -> nn.Parameter:
        block = self.teacher.encoder.get_submodule("blocks.0.mlp.fc1")
        weight = block.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    def moved(self) -> float:
        """Mean distance of a weight of block 0 from its start."""
        return float((self._watched().detach() - self.start).abs().mean())

    def after_step(self, step: Step) -> None:
        """Nothing to do."""


def measure(data: GroupedShapes, beta2: float, small_head: bool, steps: int) -> dict[str, object]:
    """Loss and distance every tenth of the steps."""
    module = Watched(data, small_head)
    settings = TrainSettings(
        steps=steps,
        batch=32,
        learning_rate=5e-4,
        beta2=beta2,
        log_every=max(steps // 6, 1),
        checkpoint_every=10**9,
    )
    rows: list[dict[str, float]] = []

    def note(row: LogRow) -> None:
        rows.append({"step": row.step, "loss": round(row.loss, 5), "moved": round(module.moved(), 7)})

    with tempfile.TemporaryDirectory() as folder:
        train(module, module, len(data), settings, Path(folder) / "checkpoint.pt", note)
    return {"beta2": beta2, "small_head": small_head, "rows": rows}


def main() -> None:
    """Measure both variants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=120)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        data = grouped_corpus(training_side([load_samples()]), VIT_TI.preprocessing, 2, 0, Path(folder))
    results = {name: measure(data, *variant, steps) for name, variant in VARIANTS.items()}
    for name, result in results.items():
        print(name, json.dumps(result["rows"]))
    command = f"python benchmarks/second_moment.py --steps {steps}"
    write_text(RESULTS, json.dumps({"command": command, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
