"""Bundles with one graph changed by hand."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import helper

from tests.runtime.tiny_bundle import file_ref, read_manifest, write_bundle, write_manifest


def replace_graph(folder: Path, rung: str, content: bytes) -> None:
    """Put another graph in the place of a rung's, with its hash in the manifest."""
    (folder / f"{rung}.onnx").write_bytes(content)
    manifest = read_manifest(folder)
    for entry in manifest["rungs"]:
        if f"s{entry['tokens']}-{entry['precision']}" == rung:
            entry["graph"] = file_ref(folder / f"{rung}.onnx")
    write_manifest(folder, manifest)


def with_strange_node(folder: Path, rung: str = "s4-int8") -> Path:
    """A bundle whose rung has a node that no compiler knows: blocks.3/Strange."""
    write_bundle(folder)
    model = onnx.load(folder / f"{rung}.onnx", load_external_data=False)
    last = next(node for node in model.graph.node if "global" in node.output)
    last.output[list(last.output).index("global")] = "inner"
    strange = helper.make_node("Strange", ["inner"], ["global"], name="blocks.3/Strange", domain="nobody")
    model.graph.node.append(strange)
    model.opset_import.append(helper.make_opsetid("nobody", 1))
    replace_graph(folder, rung, model.SerializeToString())
    return folder


def with_outside_data(folder: Path, location: str, rung: str = "s4-int8") -> Path:
    """A bundle whose rung keeps a tensor in another file."""
    write_bundle(folder)
    model = onnx.load(folder / f"{rung}.onnx", load_external_data=False)
    entry = next(part for part in model.graph.initializer[0].external_data if part.key == "location")
    entry.value = location
    replace_graph(folder, rung, model.SerializeToString())
    return folder
