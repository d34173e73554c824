"""Every form of grouping, one after the other."""

from __future__ import annotations

import pytest

from foundry_edge_runtime.grouping import accelerate, compiled, group, kernels, scene

FORMS = ("numpy", "compiled", "kernels uncompiled")
UNCOMPILED = compiled.Compiled(kernels.build, kernels.sample, kernels.neighbours)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The form of grouping that serves in the test."""
    name: str = request.param
    fast = None
    if name == "compiled":
        path = accelerate()
        if path.name != name:
            pytest.skip(path.detail)
        fast = compiled.compiled()
    elif name == FORMS[-1]:
        fast = UNCOMPILED
    for module in (group, scene):
        monkeypatch.setattr(module, "compiled", lambda: fast)
    return name
