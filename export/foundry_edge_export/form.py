"""The form of every graph: opset and IR version; its inputs and outputs are those of `backends.base`."""

from __future__ import annotations

import onnx

from foundry_edge_runtime.errors import BackendError

OPSET = 20
IR = 10


def check_versions(model: onnx.ModelProto, where: object = None) -> None:
    """Refuse a model of another opset or IR version than 20 and 10.

    Raises:
        BackendError: it is one.
    """
    opsets = {(entry.domain, entry.version) for entry in model.opset_import}
    if opsets != {("", OPSET)} or model.ir_version != IR:
        raise BackendError(
            f"expected opset {OPSET} and IR {IR}, found {sorted(opsets)} and IR {model.ir_version}",
            where=where,
            remedy="install the pinned versions: pip install -c constraints.txt 'foundry-edge[export]'",
        )
