"""Do bias correction or SmoothQuant-style scaling make INT8 better? Measured before either is built in.

    python -m benchmarks.int8_corrections embedded:student --tokens 1,4,16

Token cosine of INT8 to FP32 on the test side of the embedded samples, calibrated on their training side:

plain     nothing else
bias      the mean that rounding the weights takes from each output channel is given back (Nagel et al.,
          arXiv 1906.04721): E[x] (W - W_int8), with E[x] from the FP32 graph
smooth    activations of the maps behind a LayerNorm are divided by s_j = max|x_j|^a / max|w_j|^(1-a) with
          a = 0.5, and their weights multiplied by it (Xiao et al., arXiv 2211.10438); the norm can hold the
          division
smooth *  the same for every map, which would need a product of its own at run time: an upper bound
both      bias and smooth

Writes benchmarks/results/int8_corrections.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from benchmarks.measured import keep
from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST
from foundry_edge.load import load_student
from foundry_edge_calibration.clouds import Clouds, calibration_clouds, group_clouds
from foundry_edge_calibration.engine import Array, open_session, run_all, run_batches
from foundry_edge_calibration.placement import Site, choose_sites
from foundry_edge_calibration.qdq import insert_qdq, quantize_weight
from foundry_edge_calibration.ranges import observe
from foundry_edge_calibration.similarity import token_cosines
from foundry_edge_export.graph import trace

POLICIES = ("wide", "all-linear")
VARIANTS = ("plain", "bias", "smooth", "smooth *", "both")
ALPHA = 0.5

Doubles = npt.NDArray[np.float64]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("student", nargs="?", default="embedded:student")
    parser.add_argument("--tokens", default="1,4,16")
    parser.add_argument("--samples", type=int, default=128)
    options = parser.parse_args()
    student = load_student(options.student)
    spec = student.config.teacher.preprocessing
    clouds = calibration_clouds(None, spec, options.samples)
    held_out = group_clouds(load_samples().part(TEST).xyz, spec)
    rows = []
    for count in map(int, options.tokens.split(",")):
        model = trace(student, count)
        reference = run_all(model, *held_out)["tokens"]
        for policy in POLICIES:
            for variant, quantised in variants(model, choose_sites(model, policy), clouds).items():
                cosines = token_cosines(run_all(quantised, *held_out)["tokens"], reference)
                rows.append(_row(count, policy, variant, cosines))
                print(rows[-1], flush=True)
    about = {"student": options.student, "calibration_clouds": len(clouds), "test_clouds": len(held_out[0])}
    print(keep("int8_corrections", {**about, "rows": rows}))


def _row(count: int, policy: str, variant: str, cosines: Doubles) -> dict[str, Any]:
    mean, worst = round(float(cosines.mean()), 7), round(float(cosines.min()), 6)
    return {"tokens": count, "policy": policy, "variant": variant, "mean": mean, "worst": worst}


def variants(model: onnx.ModelProto, sites: Sequence[Site], clouds: Clouds) -> dict[str, onnx.ModelProto]:
    """Name -> INT8 graph."""
    activations = tuple(dict.fromkeys(site.activation for site in sites))
    largest, means = _channels(model, activations, clouds)
    behind_norm = {n.output[0] for n in model.graph.node if n.op_type == "LayerNormalization"}
    smooth, smooth_sites = smoothed(model, sites, largest, behind_norm)
    smooth_all, all_sites = smoothed(model, sites, largest, set(activations))
    smooth_means = _channels(smooth, tuple(dict.fromkeys(s.activation for s in smooth_sites)), clouds)[1]
    plain = _quantised(model, sites, clouds)
    smoother = _quantised(smooth, smooth_sites, clouds)
    made = (
        plain,
        _bias_corrected(plain, model, sites, means),
        smoother,
        _quantised(smooth_all, all_sites, clouds),
        _bias_corrected(smoother, smooth, smooth_sites, smooth_means),
    )
    return dict(zip(VARIANTS, made, strict=True))


def _quantised(model: onnx.ModelProto, sites: Sequence[Site], clouds: Clouds) -> onnx.ModelProto:
    tensors = tuple(dict.fromkeys(site.activation for site in sites))
    return insert_qdq(model, sites, observe(model, tensors, clouds.groups, clouds.centers).ranges("mse"))


def _channels(
    model: onnx.ModelProto, names: Sequence[str], clouds: Clouds
) -> tuple[dict[str, Doubles], dict[str, Doubles]]:
    """Largest magnitude and mean of every channel of the named tensors, over the calibration clouds."""
    watched = _copy(model)
    del watched.graph.output[:]
    for name in names:
        watched.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    largest = dict.fromkeys(names, np.zeros(1))
    sums, rows = dict.fromkeys(names, np.zeros(1)), dict.fromkeys(names, 0)
    for values in run_batches(open_session(watched), names, clouds.groups, clouds.centers):
        for name, value in zip(names, values, strict=True):
            flat: Array = value.reshape(-1, value.shape[-1])
            largest[name] = np.maximum(largest[name], np.abs(flat).max(axis=0))
            sums[name] = sums[name] + flat.sum(axis=0, dtype=np.float64)
            rows[name] += len(flat)
    return largest, {name: sums[name] / rows[name] for name in names}


def smoothed(
    model: onnx.ModelProto, sites: Sequence[Site], largest: Mapping[str, Doubles], where: set[str]
) -> tuple[onnx.ModelProto, list[Site]]:
    """An FP32 graph that computes the same, activations divided and weights multiplied by channel."""
    graph = _copy(model).graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    factors = {name: _factors(name, sites, largest, weights) for name in where & set(largest)}
    nodes = {node.name: node for node in graph.node}
    changed, made = [], set[str]()
    for site in sites:
        if site.activation not in factors:
            changed.append(site)
            continue
        factor, name = factors[site.activation], f"{site.activation}.smooth"
        if name not in made:
            made.add(name)
            graph.initializer.append(numpy_helper.from_array((1 / factor).astype(np.float32), f"{name}.by"))
            divide = helper.make_node("Mul", [site.activation, f"{name}.by"], [name], name=f"{name}/Mul")
            graph.node.insert(list(graph.node).index(nodes[site.node]), divide)
        weight = (weights[site.weight] * factor[:, None]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(weight, f"{site.module}.smooth"))
        node = next(one for one in graph.node if one.name == site.node)
        node.input[0], node.input[1] = name, f"{site.module}.smooth"
        changed.append(Site(site.node, site.module, name, f"{site.module}.smooth"))
    return _with(model, graph), changed


def _factors(
    name: str, sites: Sequence[Site], largest: Mapping[str, Doubles], weights: Mapping[str, Array]
) -> Doubles:
    columns = [np.abs(weights[site.weight]).max(axis=1) for site in sites if site.activation == name]
    weight = np.maximum(np.max(columns, axis=0), 1e-5)
    return np.asarray(np.maximum(largest[name], 1e-5) ** ALPHA / weight ** (1 - ALPHA))


def _bias_corrected(
    quantised: onnx.ModelProto, model: onnx.ModelProto, sites: Sequence[Site], means: Mapping[str, Doubles]
) -> onnx.ModelProto:
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    by_node, graph = {site.node: site for site in sites}, _copy(quantised).graph
    nodes = []
    for node in graph.node:
        nodes.append(node)
        site = by_node.get(node.name)
        if site is None:
            continue
        values, scale = quantize_weight(weights[site.weight])
        lost = means[site.activation] @ (weights[site.weight] - values.astype(np.float64) * scale)
        name, result = f"{site.module}.lost", node.output[0]
        graph.initializer.append(numpy_helper.from_array(lost.astype(np.float32), name))
        node.output[0] = f"{result}.before"
        nodes.append(helper.make_node("Add", [f"{result}.before", name], [result], name=f"{name}/Add"))
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)
    return _with(quantised, graph)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _with(model: onnx.ModelProto, graph: onnx.GraphProto) -> onnx.ModelProto:
    changed = _copy(model)
    changed.graph.CopyFrom(graph)
    return changed


if __name__ == "__main__":
    main()
