"""`--workers` and `--isolate`: scans computed by processes, in the order of the inputs.

A scan that takes its process down, or holds it up for too long, is a failure; the process is started again
and the rest goes on. Several such deaths in a row are blamed on the engine, and the next best one takes its
place.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait

from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.choice import choose, refuse_unmet
from foundry_edge_runtime.errors import BackendError, FoundryEdgeError, ScanError
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.profile.model import EngineFailure
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.selection import Notify
from foundry_edge_runtime.streams.items import TICK_SECONDS, Item, Items, Outcome, Stop
from foundry_edge_runtime.streams.process import START_SECONDS, Job, Worker
from foundry_edge_runtime.streams.worker import BEGIN, ERROR, FREE, NOTICE, OUTCOME, READY, Message, Setup

SCAN_SECONDS = 60.0
_PATIENCE = 3
_ENDED = object()


class Pool:
    """Worker processes that share one choice of engine.

    Args:
        bundle: what they run.
        setup: what each is told, but for its CPUs.
        count: how many.
        notify: told what happens to them, each line once.
        seconds: for one scan.

    Attributes:
        choice: the engine last used.
        batch: inputs a worker takes at a time.

    Raises:
        GateError, InputError, BackendError: as for a `Session`.
    """

    def __init__(
        self, bundle: Bundle, setup: Setup, count: int, notify: Notify, seconds: float = SCAN_SECONDS
    ) -> None:
        self.choice = choose(bundle.manifest, setup.profile, setup.budget)
        self.batch = setup.batch or 1
        self._bundle, self._setup, self._notify, self._seconds = bundle, setup, notify, seconds
        self._deaths = 0
        self._said: set[str] = set()
        self._cpus = _shares(count)
        self._stopped = False
        self._workers: list[Worker] = []
        self._jobs: deque[Job] = deque()
        self._again: deque[Job] = deque()
        try:
            if setup.strict:
                refuse_unmet(self.choice, setup.budget)
            self._start_first()
            self._workers += [self._start(cpus) for cpus in self._cpus[1:]]
        except BaseException:
            self.close()
            raise

    def outcomes(self, items: Items, stop: Stop) -> Iterator[Outcome | None]:
        """Compute the scans of inputs; as `here.outcomes`, but for its errors.

        Raises:
            BackendError: no engine is left, or ``strict`` and one failed.
        """
        more = True
        while True:
            more = more and not stop.asked
            idle = False
            if stop.asked:
                self._wind_up()
            while (more or self._again) and not idle and (worker := self._free()) is not None:
                more, idle = self._hand_out(worker, items, more)
            yield from self._in_order()
            if not self._jobs:
                if not more:
                    return
                if idle:
                    yield None
                    continue
            self._listen()

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def _hand_out(self, worker: Worker, items: Items, more: bool) -> tuple[bool, bool]:
        """Give a worker something to do; whether there may be more, and whether there is nothing now."""
        if self._again:
            worker.give(self._again.popleft())
            return more, False
        taken: list[Item] = []
        idle = False
        while len(taken) < self.batch and more and not idle:
            item = next(items, _ENDED)
            more, idle = item is not _ENDED, item is None
            if isinstance(item, Item):
                taken.append(item)
        if taken:
            job = Job(tuple(taken), self.batch)
            self._jobs.append(job)
            worker.give(job)
        return more, idle

    def _free(self) -> Worker | None:
        """A worker without work; none while a head of the line holds too many results back."""
        if not self._again and len(self._jobs) >= 4 * len(self._workers):
            return None
        return next((one for one in self._workers if one.ready and one.job is None), None)

    def _in_order(self) -> Iterator[Outcome]:
        while self._jobs:
            first = self._jobs[0]
            ready, first.outcomes = first.outcomes, []
            yield from ready
            if not first.finished:
                return
            self._jobs.popleft()

    def _listen(self) -> None:
        """Take what the workers say within a tick, and bury those that are dead or silent for too long."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), TICK_SECONDS):
            worker = by_connection[connection]  # type: ignore[index]
            message = worker.receive()
            if message is None:
                self._died(worker)
            else:
                self._take(worker, message)
        for worker in list(self._workers):
            if worker.silent_for() > (self._seconds if worker.ready else START_SECONDS) and (
                worker.job or not worker.ready
            ):
                self._died(worker)

    def _take(self, worker: Worker, message: Message) -> None:
        kind, *values = message
        job = worker.job
        if kind == READY:
            worker.ready = True
            self.choice, self.batch = values
            self._setup = replace(self._setup, batch=self.batch)
        elif kind == NOTICE:
            self._say(values[0])
        elif kind == ERROR:
            error: FoundryEdgeError = values[0]
            raise error
        elif kind == BEGIN and job is not None:
            place, scan = values
            job.begun[place] = scan
        elif kind == OUTCOME and job is not None:
            place, result, scan = values
            if isinstance(result, Result):
                self._deaths = 0
                self.choice = result.choice
                result = replace(result, bundle=self._bundle)
            job.add(place, Outcome(job.items[place], result, scan))
        elif kind == FREE and job is not None:
            job.finished, worker.job = True, None

    def _died(self, worker: Worker) -> None:
        """Bury a worker, start another in its place, and see to what it worked on."""
        place = self._workers.index(worker)
        started, job = worker.ready, worker.job
        reason = worker.bury()
        self._deaths += 1
        if not started or self._deaths >= _PATIENCE:
            self._blame_engine(reason)
        if job is not None:
            self._after_death(job, reason)
        if self._stopped:
            self._workers.remove(worker)
            return
        self._workers[place] = self._start(self._cpus[place])
        self._notify(f"a worker process was started again: {reason}")

    def _after_death(self, job: Job, reason: str) -> None:
        """Scans computed at once are tried one by one; a single one has failed, and the rest goes on."""
        left, job.finished = job.left, True
        if len(left) > 1 or (job.batch > 1 and job.reached is not None):
            self._try_again(job, left)
        elif left:
            self._give_up(job, left[0], reason)

    def _try_again(self, job: Job, items: Sequence[Item]) -> None:
        """Hand these out next, each alone and its scans one by one, in the place of a job."""
        position = self._jobs.index(job)
        for offset, item in enumerate(items, 1):
            single = Job((item,))
            self._jobs.insert(position + offset, single)
            self._again.append(single)

    def _give_up(self, job: Job, item: Item, reason: str) -> None:
        """The scan that took the process down has failed; so has the input where none of it was begun."""
        several = item.skip > 0 or job.reached is not None
        scan = item.skip + 1 if several else None
        problem = ScanError(
            f"the process that computed it was lost: {reason}", where=item.name, remedy="look at the scan"
        )
        job.outcomes.append(Outcome(item, Failure(item.name, problem, scan), scan))
        if job.reached is None:
            job.outcomes.append(Outcome(item, None))
        elif not self._stopped:
            self._try_again(job, [replace(item, skip=item.skip + 1)])

    def _blame_engine(self, reason: str) -> None:
        rung, backend = self.choice.rung, self.choice.backend
        error = BackendError(f"{rung.name} takes its process down: {reason}", where=backend)
        if self._setup.strict:
            raise error
        failure = EngineFailure.of(rung, backend, error)
        self._setup = replace(self._setup, profile=self._setup.profile.add(failure))
        self._deaths = 0
        self._say(f"engine {rung.name} failed, taking the next: {error}")
        self.choice = choose(self._bundle.manifest, self._setup.profile, self._setup.budget)

    def _start_first(self) -> None:
        """Wait for the first worker: that there is no engine is said before any scan is taken."""
        self._workers.append(self._start(self._cpus[0]))
        while not self._workers[0].ready:
            self._listen()

    def _start(self, cpus: tuple[int, ...]) -> Worker:
        return Worker(replace(self._setup, cpus=cpus))

    def _wind_up(self) -> None:
        """Let each worker end after its scan; what was to be tried again is not."""
        for job in self._again:
            job.finished = True
        self._again.clear()
        if not self._stopped:
            self._stopped = True
            for worker in self._workers:
                worker.stop()

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._notify(text)


def _shares(count: int) -> Sequence[tuple[int, ...]]:
    """The CPUs of each worker: all for one, else a share each."""
    if count == 1 or not hasattr(os, "sched_getaffinity"):
        return [()] * count
    cpus = sorted(os.sched_getaffinity(0))
    return [tuple(cpus[place % len(cpus) :: count]) or (cpus[place % len(cpus)],) for place in range(count)]
