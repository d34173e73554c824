"""Loading the chosen engine; when it fails, the next best one takes its place, and that is said."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from foundry_edge_runtime.adaptive import Rungs, ladder_of, warm_ladder
from foundry_edge_runtime.backends.base import Backend, Engine
from foundry_edge_runtime.backends.registry import available_backend
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.choice import Choice, choose, refuse_unmet
from foundry_edge_runtime.errors import BackendError, DeviceError, InputError
from foundry_edge_runtime.planned import with_plans
from foundry_edge_runtime.profile.model import EngineFailure, Profile
from foundry_edge_runtime.profile.store import empty_profile
from foundry_edge_runtime.selection import Notify, quick_profile, select, unmeasured


class Opener:
    """Chooses and loads engines for one session.

    Args:
        bundle: what to choose from.
        budget: limits and pins.
        profile: choose by it alone and measure nothing.
        backend: use this object and no other.
        strict: an unmet budget and a failing engine are errors.
        notify: told in one line what is measured and what fails.

    Raises:
        InputError, BackendError: the backend asked for is unknown or not available here.
    """

    def __init__(
        self,
        bundle: Bundle,
        budget: Budget,
        *,
        profile: Profile | None,
        backend: Backend | None,
        strict: bool,
        notify: Notify,
    ) -> None:
        if backend is None and budget.backend is not None:
            available_backend(budget.backend)
        self._bundle = bundle
        self._budget = budget if backend is None else replace(budget, backend=backend.name)
        if profile is not None and backend is None and profile.planned is None:
            profile = with_plans(profile, bundle.manifest, notify, budget.backend)
        self._profile = profile
        self._given = profile is not None
        self._backend = backend
        self._strict = strict
        self._notify = notify

    def open(self) -> tuple[Choice, Engine]:
        """The best engine that loads, warmed.

        Raises:
            InputError, BackendError: see `choose`; or an engine fails and there is no other.
            GateError: strict, and the budget cannot be met.
            BundleError: a file of the rung is not what the manifest says.
        """
        while True:
            choice = self._choose()
            try:
                return choice, self._load(choice)
            except BackendError as error:
                self.failed(choice, error)

    def warm(self, choice: Choice, engine: Engine) -> Rungs:
        """The ladder around the engine chosen, loaded as far as the memory allows; for `--adaptive`.

        Raises:
            BundleError: as `open`; what was loaded here is closed then.
        """
        profile = self._whole_profile()
        ladder = ladder_of(self._bundle.manifest, profile, self._budget)
        rungs = warm_ladder(ladder, (choice, engine), self._budget, self._load)
        if rungs.left_out:
            self._notify(f"not kept warm (memory, or they fail to load): {', '.join(rungs.left_out)}")
        return rungs

    def _whole_profile(self) -> Profile:
        """A profile with every engine that may be used; what the stored one lacks is measured shortly."""
        if self._profile is None:
            self._profile = empty_profile(self._bundle.manifest)
        if self._backend is None and not self._given:
            missing = unmeasured(self._bundle.manifest, self._profile, self._budget)
            if missing:
                self._notify(f"measuring {len(missing)} more engines for --adaptive")
                known = quick_profile(self._bundle, self._budget, notify=self._notify)
                self._profile = known.add(*self._profile.failures)
        return self._profile

    def failed(self, choice: Choice, error: BackendError) -> None:
        """Take an engine out of the choice, or raise the error again when strict.

        After a failure of the GPU nothing more can be computed on it, so all engines of the backend go.
        """
        if self._strict:
            raise error
        lost = isinstance(error, DeviceError)
        rungs = self._bundle.manifest.rungs if lost else (choice.rung,)
        failures = (EngineFailure.of(rung, choice.backend, error) for rung in rungs)
        self._profile = (self._profile or empty_profile(self._bundle.manifest)).add(*failures)
        rest = f"going on without {choice.backend}" if lost else "taking the next"
        self._notify(f"engine {choice.rung.name} failed, {rest}: {error}")

    def _choose(self) -> Choice:
        if self._profile is None:
            choice, self._profile = select(
                self._bundle, self._budget, backend=self._backend, notify=self._notify
            )
        else:
            choice = choose(self._bundle.manifest, self._profile, self._budget)
        if self._strict:
            refuse_unmet(choice, self._budget)
        return choice

    def _load(self, choice: Choice) -> Engine:
        backend = self._backend or available_backend(choice.backend)
        engine = backend.load(self._bundle.graph(choice.rung), self._bundle.manifest.preprocessing)
        with ExitStack() as undo:
            undo.callback(engine.close)
            engine.warm()
            undo.pop_all()
        return engine


def check_holdable(budget: Budget) -> None:
    """Refuse to hold a latency that nobody named, before anything is loaded.

    Raises:
        InputError: the budget has none.
    """
    if budget.max_latency_ms is None:
        raise InputError("--adaptive needs a latency to hold", remedy="add --max-latency-ms")
