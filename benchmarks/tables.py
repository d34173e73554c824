"""Draw docs/results.md and its plots from the JSON of student_table.py and evaluate_all.py.

    python -m benchmarks.tables

Headline rows are mean and sample standard deviation over their seeds; the others are one seed, and say so.
Only what was made of the teacher named, or of the weights that ship now, is drawn.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import gate_sweep, leave_one_out, scan_views
from benchmarks.evaluate_all import BASELINES
from benchmarks.markdown import cell, table
from benchmarks.shipped import section
from benchmarks.student_plots import PRICES, plot
from benchmarks.student_points import Point, frontier, load, macs
from foundry_edge.load import teacher_digest
from foundry_edge_runtime.files import write_text

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"
REFERENCES = ("teacher", "random")
KEYS = {"test": "linear", "10-shot": "10-shot", "instance_miou": "part mIoU"}
"""Probe -> how a column calls it."""


def quality(points: list[Point], sets: list[str]) -> str:
    """Every method and budget: fidelity, probes."""
    header = ["method", "s", "seeds", "Smooth L1", "cosine", "in use"]
    columns = [
        (name, what) for name in sets for what in KEYS if any(p.values("probes", name, what) for p in points)
    ]
    header += [f"{name} {KEYS[what]}" for name, what in columns]
    rows = []
    for p in points:
        row = [p.run, _tokens(p), str(len(p.rows)), cell(p.values("smooth_l1"), 4)]
        row += [cell(p.values("cosine_mean"), 4), cell(p.values("usage", "in_use"), 1)]
        row += [cell(p.values("probes", name, what), 1) for name, what in columns]
        rows.append(row)
    return table(header, rows)


def _of_light(*names: str) -> list[str]:
    return [f"light-2-2-{name}" for name in names]


@dataclass(frozen=True)
class Comparison:
    """A question that some of the rows answer.

    Attributes:
        title: above the table.
        text: what differs between the rows.
        runs: in the order of the table.
        budgets: of the runs that have any.
    """

    title: str
    text: str
    runs: tuple[str, ...]
    budgets: tuple[int, ...] = (1, 4, 16)

    def parts(self, points: list[Point], sets: list[str]) -> list[str]:
        """Title, text and table, with the references above; [] where none of the runs is there."""
        asked = [p for p in points if p.run in self.runs and p.tokens in (*self.budgets, None)]
        asked.sort(key=lambda p: (p.tokens or 0, self.runs.index(p.run)))
        references = [p for p in points if p.run in REFERENCES]
        return [f"### {self.title}", self.text, quality([*references, *asked], sets)] if asked else []


COMPARISONS = (
    Comparison(
        "Which tokens merge",
        "The form that `distill` makes, at equal s: its own assignment (`light-3-2-r1-h64-cau`, located "
        "queries), FPS, K-means, ToMe and PatchMerger; above, at lower and at like cost, depth truncation "
        "with the same tokenizer and MLPs, and (`-cau`) all of the form but its SuperTokens.",
        (
            "lite-truncation-3-r1-h64",
            "lite-truncation-4-r1-h64",
            "lite-truncation-3-r1-h64-cau",
            "light-3-2-r1-h64-cau",
            *(f"light-3-2-r1-h64-cau-{method}" for method in ("fps", "kmeans", "tome", "patchmerger")),
        ),
    ),
    Comparison(
        "Which tokens merge, behind two whole blocks",
        "Two whole blocks on all tokens, at equal s: the assignment of `distill` (`light-2-2`, located "
        "queries), anchored queries, FPS, K-means, ToMe; above, at lower cost, depth truncation with the "
        "same tokenizer.",
        (
            "lite-truncation-1",
            "lite-truncation-2",
            "light-2-2",
            *_of_light("anchored", "fps", "kmeans", "tome"),
        ),
    ),
    Comparison(
        "Which tokens merge, in the paper's form",
        "No block on all tokens, all blocks on the SuperTokens, the teacher's own tokenizer: plain DSO "
        "(`learned`), other queries, located ones with the residual `update`, FPS, K-means, ToMe, "
        "PatchMerger.",
        ("learned", "cosine", "anchored", "located", "update", "fps", "kmeans", "tome", "patchmerger"),
    ),
    Comparison(
        "One elastic student and dedicated ones",
        "The elastic student has twice the steps of each dedicated one, and serves five budgets.",
        ("light-2-2", *_of_light("dedicated-1", "dedicated-4", "dedicated-16")),
    ),
    Comparison(
        "One universal student and two specialists, crossed over the tasks",
        "`hybrid` learns the teacher's features; the specialists, of its form and with as many steps, the "
        "logits of one task and its labels. Each is judged on both by probes on its frozen features.",
        ("hybrid", "kd-classification", "kd-parts"),
    ),
    Comparison(
        "How wide the MLPs on all tokens are",
        "`r1`: as wide as a token, in place of four times that. Of SuperToken students with m blocks on all "
        "tokens (`light-m-2`), of depth truncation, and with the wider tokenizer (`h64`).",
        (
            "lite-truncation-1",
            "lite-truncation-2",
            *(f"lite-truncation-{k}-r1" for k in (2, 3, 4)),
            "light-1a1-2",
            "light-2-2",
            *(f"light-{m}-2-r1" for m in (2, 3, 4)),
            "light-4-2-r0.5",
            *_of_light("h64"),
            *(f"light-{m}-2-r1-h64" for m in (2, 3)),
            *(f"light-{m}-2-r1-h64-cau" for m in (2, 3)),
            "lite-truncation-2-h64",
            *(f"lite-truncation-{k}-r1-h64" for k in (3, 4)),
            *(f"lite-truncation-{k}-r1-h64-cau" for k in (2, 3)),
        ),
    ),
    Comparison(
        "How wide the light tokenizer is",
        "h = 16, 32 and 64 (the default), two whole blocks on all tokens, and of truncation to two blocks.",
        (*_of_light("h16"), "light-2-2", *_of_light("h64"), "lite-truncation-2", "lite-truncation-2-h64"),
    ),
)


def cost(points: list[Point]) -> str:
    """Every method and budget: what it costs, and whether something cheaper is better."""
    header = ["method", "s", "Smooth L1", "MMACs", "without tokenizer", "GMACs, scene", "weights MB"]
    header += ["latency, teacher = 1", "frontier"]
    best = {(p.run, p.tokens) for p in frontier(points, macs)}
    rows = []
    for p in sorted((p for p in points if p.mean("macs_total")), key=macs):
        tokenizer = p.mean("macs", "tokenizer") or 0.0
        rows.append(
            [
                p.run,
                _tokens(p),
                cell(p.values("smooth_l1"), 4),
                f"{macs(p) / 1e6:.1f}",
                f"{(macs(p) - tokenizer) / 1e6:.1f}",
                f"{(p.mean('macs_scene') or 0.0) / 1e9:.1f}",
                f"{(p.mean('weight_bytes') or 0.0) / 1e6:.1f}",
                cell(p.values("latency", "ratio"), 2),
                "yes" if (p.run, p.tokens) in best else "",
            ]
        )
    return table(header, rows)


def _tokens(point: Point) -> str:
    return "-" if point.tokens is None else str(point.tokens)


SHIPPED = (
    "The embedded teacher and student, engines of the embedded bundle where a precision other than fp32 is "
    "named, and three networks of random weights with batch norms calibrated on the set's training side "
    "(one by fine-tuning and on the sets of parts but parts_psb). "
    "`500 steps` are students of the first part of this page (seed 0; the embedded one had 5000 steps): "
    + ", ".join(f"{title} (`{name}`)" for name, title in BASELINES.items())
    + ". "
    "Test sides, percent unless it is a cosine or Smooth L1 to the teacher, ± sample standard deviation over "
    "seeds (over networks for random weights); every choice was made on a fifth of the training side. "
    "Three seeds, one of parts and fine-tuning. "
    "[evaluation.md](evaluation.md) says what each protocol does; the command of every row is in the JSON."
)


def main() -> None:
    """Write docs/results.md and the plots beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=DOCS)
    parser.add_argument("--teacher", default="embedded:teacher", help="whose students are drawn")
    options = parser.parse_args()
    digest = teacher_digest(options.teacher)
    points, recipes = load(options.results, digest)
    sets = sorted({name for p in points for row in p.rows for name in row.get("probes", {})})
    plot(points, PRICES, ["smooth_l1"], options.docs / "student_smooth_l1.png")
    images = ["student_smooth_l1.png"]
    for name in sets:
        images.append(f"student_{name}.png")
        what = next(key for key in KEYS if any(p.values("probes", name, key) for p in points))
        plot(points, PRICES, ["probes", name, what], options.docs / images[-1])
    text = page(points, recipes, sets, images, further(options.results, digest))
    write_text(options.docs / "results.md", text)


def further(folder: Path, teacher_sha256: str) -> dict[str, str]:
    """Title -> text of the parts that come from other results; "" where there are none."""
    shipped = section(folder, teacher_sha256)
    return {
        "Gate": gate_sweep.section(folder / gate_sweep.RESULTS.name, teacher_sha256),
        "Every model by every protocol": f"{SHIPPED}\n\n{shipped}" if shipped else "",
        "Turned, and seen from one side": scan_views.section(folder / scan_views.RESULTS.name),
        "A set that pre-training never saw": leave_one_out.section(
            folder / leave_one_out.RESULTS.name, teacher_sha256
        ),
    }


def recipe_line(recipe: dict[str, Any]) -> str:
    """What the rows were made by."""
    options = " ".join(f"--{name} {value}" for name, value in recipe.items() if name != "teacher_sha256")
    command = f"python -m benchmarks.student_table --data ../shared/data {options} --probe ..."
    return f"Teacher {recipe['teacher_sha256'][:16]}...: `{command}`"


def page(
    points: list[Point],
    recipes: list[dict[str, Any]],
    sets: list[str],
    images: list[str],
    sections: dict[str, str],
) -> str:
    """docs/results.md."""
    parts = [
        "# Results: students against their baselines, and what ships",
        "Made by `python -m benchmarks.tables` from benchmarks/results/student_*.json, which "
        "`python -m benchmarks.student_table` writes, and evaluate_*.json, which "
        "`python benchmarks/evaluate_all.py --data ../shared/data` writes. Do not edit.",
        "## Methods, distilled alike",
        "All methods share the teacher's frozen tokenizer (`lite-...` rows learn a light one of that width; "
        "`light-m-k` too, with m blocks on all tokens, k on the SuperTokens and no MLP in CAU; of width 32 "
        "unless `h` says another; `r1` has MLPs of d hidden units on all tokens, `cau` one in CAU too. "
        "`light-3-2-r1-h64-cau` is what `distill` makes by default), the cached targets, the loop and the "
        "number of steps (a dedicated student has half of an elastic one's). [method.md](method.md) says "
        "what each one is. Smooth L1 and cosine are of the first 256 test shapes of each set. "
        "Rows with several seeds are mean ± sample standard deviation, the others are one "
        "seed. Probes are linear, on frozen pooled "
        "features, in percent on the test side, with a fixed penalty; 10-shot is the mean of ten draws of "
        "ten training shapes per class. `teacher` is the teacher itself, `random` is random weights with "
        "calibrated batch norms.",
        *map(recipe_line, recipes),
        *(part for one in COMPARISONS for part in one.parts(points, sets)),
        "### All rows",
        quality(points, sets),
        "### Cost",
        "Multiply-accumulates of one cloud, attention included; a scene has 9375 groups, all of which "
        "attend to all in a block on all tokens (`run --scene` attends within windows: method.md). On the "
        "frontier is what nothing cheaper beats in Smooth L1. Latency is eager PyTorch at batch 1, measured "
        "in turns with the teacher.",
        cost(points),
        "### Frontier",
        *(f"![{name}]({name})" for name in images),
        *(part for title, text in sections.items() if text for part in (f"## {title}", text)),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
