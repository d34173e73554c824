"""`--cluster`: a batch on many machines through Ray Data, results in the order of the inputs.

Every machine needs this package and sees the scans (and a bundle that is not the embedded one) under the same
paths. All use the engine that was chosen here, so the results are those of a single process.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from foundry_edge_runtime.backends.registry import needs_gpu
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.choice import choose, refuse_unmet
from foundry_edge_runtime.errors import BackendError, EnvironmentFault
from foundry_edge_runtime.readers.optional import optional
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.selection import Notify
from foundry_edge_runtime.streams import here
from foundry_edge_runtime.streams.items import Item, Items, Outcome, Stop
from foundry_edge_runtime.streams.worker import Setup, open_session

AUTO = "auto"
_INPUTS = 8  # that an actor takes at a time
_GPU_PARTS = 10_000  # Ray counts GPUs in parts of that size


class Cluster:
    """Actors on a Ray cluster, one for each `workers`.

    Args:
        bundle: what they run.
        setup: what each is told.
        address: of the cluster; "auto" takes the one that runs here, else starts one on this machine alone.
        workers: how many actors.
        notify: told when a cluster is started, and when it has no GPU for an engine that needs one.

    Attributes:
        choice: the engine.

    Raises:
        MissingExtraError: ray is not installed.
        EnvironmentFault: the cluster cannot be reached.
        GateError, InputError, BackendError: as for a `Session`.
    """

    def __init__(self, bundle: Bundle, setup: Setup, address: str, workers: int, notify: Notify) -> None:
        self.choice = choose(bundle.manifest, setup.profile, setup.budget)
        if setup.strict:
            refuse_unmet(self.choice, setup.budget)
        self._ray = optional("ray", "cluster", "computing on a cluster")
        self._data = optional("ray.data", "cluster", "computing on a cluster")
        here = setup.profile.model_copy(update={"planned": None})  # other machines have plans of their own
        self._bundle, self._setup, self._workers = bundle, replace(setup, profile=here), workers
        self._notify = notify
        self._started = not self._ray.is_initialized()
        if self._started:
            self._connect(address, notify)

    def outcomes(self, items: Items, stop: Stop) -> Iterator[Outcome | None]:
        """Compute the scans of inputs; all inputs are listed before the first is computed.

        Raises:
            BackendError: no engine is left on a machine, or an actor was lost.
        """
        listed = [item for item in items if item is not None]
        if not listed:
            return
        context = self._data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        rows = self._data.from_items(
            [{"place": place, "name": item.name, "skip": item.skip} for place, item in enumerate(listed)]
        )
        computed = rows.map_batches(
            Computer,
            fn_constructor_args=(self._setup,),
            batch_size=_INPUTS,
            concurrency=self._workers,
            num_gpus=self._share_of_gpu(),
        )
        try:
            for row in computed.iter_rows():
                yield self._outcome(row, listed)
                if stop.asked:
                    return
        except self._ray.exceptions.RayError as error:
            raise BackendError(f"the cluster failed: {_last_line(error)}", where="ray") from error

    def _share_of_gpu(self) -> float | None:
        """Of one GPU, for each actor: Ray shows GPUs only to those that ask, and starts as many as fit."""
        if not needs_gpu(self.choice.backend):
            return None
        gpus = int(self._ray.cluster_resources().get("GPU", 0))
        if not gpus:
            self._notify(f"Ray knows of no GPU, which {self.choice.backend} needs")
            return None
        share = _GPU_PARTS // math.ceil(self._workers / gpus)
        return share / _GPU_PARTS

    def close(self) -> None:
        """Leave the cluster, if this joined it."""
        if self._started:
            self._ray.shutdown()

    def _connect(self, address: str, notify: Notify) -> None:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what goes wrong is raised, and said once
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        quiet = {"log_to_driver": False, "logging_level": "error"}
        try:
            self._ray.init(address=address, **quiet)
        except ConnectionError as error:
            if address != AUTO:
                raise EnvironmentFault(
                    f"the cluster cannot be reached: {_last_line(error)}",
                    where=f"--cluster {address}",
                    remedy="start it with `ray start`, or check the address",
                ) from None
            notify("no Ray cluster is running here; one is started on this machine alone")
            self._start(quiet)

    def _start(self, quiet: dict[str, Any]) -> None:
        try:
            self._ray.init(include_dashboard=False, **quiet)
        except OSError as error:
            raise EnvironmentFault(
                f"Ray cannot start here: {_last_line(error)}",
                where=f"--cluster {AUTO}",
                remedy="make the path writable, or set RAY_AUTH_TOKEN to a secret of 32 characters, "
                "so that Ray keeps none in the home",
            ) from None

    def _outcome(self, row: dict[str, Any], listed: list[Item]) -> Outcome:
        result = row["result"]
        if isinstance(result, Result):
            self.choice = result.choice
            result = replace(result, bundle=self._bundle)
        scan = int(row["scan"])
        return Outcome(listed[int(row["place"])], result, scan or None)


class Computer:
    """What an actor does: one session, rows of inputs in, rows of outcomes out.

    Args:
        setup: what it is told.
    """

    def __init__(self, setup: Setup) -> None:
        self._session = open_session(setup)
        self._options = setup.options
        self._batch = setup.batch or self._session.best_batch()

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Compute inputs, given as columns ``place``, ``name`` and ``skip``."""
        items = [
            Item(str(name), skip=int(skip)) for name, skip in zip(rows["name"], rows["skip"], strict=True)
        ]
        places, results, scans = list[int](), list[object](), list[int]()
        for outcome in here.outcomes(self._session, iter(items), self._options, Stop(), self._batch):
            if outcome is not None:
                at = next(i for i, item in enumerate(items) if item is outcome.item)
                places.append(int(rows["place"][at]))
                results.append(outcome.result)
                scans.append(outcome.scan or 0)
        column = np.empty(len(results), dtype=object)
        column[:] = results
        return {"place": np.array(places), "scan": np.array(scans), "result": column}


def _last_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()[-1:]), type(error).__name__)
