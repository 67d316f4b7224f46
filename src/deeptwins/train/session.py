"""A session: the runs still to train, the workers that train them, and what becomes of both."""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from types import FrameType
from typing import Any

from deeptwins import records
from deeptwins.errors import InputError
from deeptwins.study.specs import RunSpec
from deeptwins.train.attempts import Order, Reply, give_up
from deeptwins.train.progress import Display, Going, State, duration, seconds_left
from deeptwins.train.workers import SIGNALS, Equipment, Key, Report, Worker, signals_blocked

DEATHS = 3  # of workers, on one run
RESERVE, LEAST_S, MOST_S = 0.05, 5.0, 30.0  # of the time until a deadline, kept to save what is in hand
PARTING_S = 2.0  # before a deadline: for the processes to be gone by then
AGAIN_S = 2.0  # how soon a run that another deeptwins trains is looked at again
TICK_S = 0.2  # how often the display is told where things stand, and orders to stop are looked for


@dataclass(eq=False)
class Job:
    """A run to train, and what the session has seen of it. Times are of the monotonic clock."""

    run: RunSpec
    label: str
    cost: float  # FLOPs
    due: float = 0.0  # not to be given out before
    awaited: bool = False  # another deeptwins has it
    alone: bool = False  # to be trained beside no other
    deaths: int = 0
    given_at: float = 0.0
    first: int = 0  # the iteration of the worker's first report
    first_at: float = 0.0
    iteration: int = 0  # of the last report; 0 before the first

    def give(self) -> None:
        """Begin an attempt: forget what an earlier worker reported."""
        self.given_at, self.iteration = time.monotonic(), 0

    def reach(self, iteration: int) -> None:
        """Note a report."""
        if not self.iteration:
            self.first, self.first_at = iteration, time.monotonic()
        self.iteration = iteration

    @property
    def key(self) -> Key:
        """What its worker calls it."""
        return self.run.study, self.run.id

    @property
    def going(self) -> Going:
        """The attempt as the estimate of the time left sees it; the pace counts from the first report."""
        flops = self.cost / self.run.recipe.iterations
        if not self.iteration:
            return Going(0.0, self.cost, 0.0)
        left = self.run.recipe.iterations - self.iteration
        return Going(flops * (self.iteration - self.first), flops * left, time.monotonic() - self.first_at)


class Session:
    """The parent's side of the workers."""

    def __init__(  # noqa: PLR0913, PLR0917  what to do, what was done, who does it, with what, until when, and who is told
        self,
        jobs: Sequence[Job],
        ended: Counter[str],
        team: tuple[int, int],
        equipment: Equipment,
        display: Display,
        deadline: float = math.inf,
    ) -> None:
        """Prepare; nothing starts before `work`.

        Args:
            jobs: in the order in which they are to be given out.
            ended: runs by status, those that ended before this session; counted on.
            team: workers, and runs that each of them trains at once.
            equipment: what each worker gets.
            display: told of what happens.
            deadline: on the monotonic clock: until then, everything is saved and all workers are gone.
        """
        self._waiting = list(jobs)
        self._rank = {job: i for i, job in enumerate(jobs)}
        self._work = sum(job.cost for job in jobs)
        self._ended = ended
        self._total = ended.total() + len(jobs)
        self._number, self._together = team
        self._equipment = equipment
        self._display = display
        self._hands: dict[Worker, dict[Key, Job]] = {}
        self._spent = (0.0, 0.0)  # FLOPs and seconds of the runs finished here
        self._signals = 0
        self._stopping = False
        self._unusable: str | None = None
        self.out_of_time = False
        """Whether it ended because the deadline came near."""
        self._deadline = deadline - PARTING_S
        left = deadline - time.monotonic()
        self._last_call = deadline - PARTING_S - min(MOST_S, max(LEAST_S, RESERVE * left))

    @property
    def _busy(self) -> list[Job]:
        """The jobs in the workers' hands."""
        return [job for jobs in self._hands.values() for job in jobs.values()]

    def work(self) -> None:
        """Train until nothing is left to do, or until a signal, the time or the results folder says to stop.

        Raises:
            InputError: the results can no longer be written or read.
        """
        with self._listening():
            try:
                shown = -math.inf
                while self._busy or (self._waiting and not self._stopping):
                    self._give_out()
                    workers = {worker.pipe: worker for worker in self._hands}
                    for pipe in connection.wait(list(workers), TICK_S):
                        self._hear(workers[pipe])  # type: ignore[index]
                    now = time.monotonic()
                    if not self._stopping:
                        self.out_of_time = now >= self._last_call
                        if self._signals or self._unusable or self.out_of_time:
                            self._stop()
                    if now >= self._deadline:
                        break  # whoever is not done with saving goes on from an earlier checkpoint
                    if now - shown >= TICK_S:  # many workers wake this loop far more often
                        shown = now
                        self._display.update(self._state())
                self._display.update(self._state())
            except KeyboardInterrupt:
                pass
            finally:
                for worker in self._hands:
                    worker.dismiss()
        if self._unusable:
            finished = self._ended["done"] + self._ended["diverged"]
            raise InputError(
                f"{self._unusable}; {finished} of {self._total} runs are finished and stay; mend this, and"
                " the same command (without --fresh) goes on"
            )

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note the first signal to stop, obey the second at once."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self._signals += 1
            if self._signals == 2:  # noqa: PLR2004
                raise KeyboardInterrupt

        before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _give_out(self) -> None:
        """Give the runs that are due to the workers that have a hand free."""
        now = time.monotonic()
        for job in [] if self._stopping else [job for job in self._waiting if job.due <= now]:
            worker = self._free(job)
            if worker is None:
                return
            self._waiting.remove(job)
            self._hands[worker][job.key] = job
            job.give()
            with suppress(OSError):  # a worker that has died is noticed when its pipe is read
                worker.pipe.send(Order(job.run, job.awaited))

    def _free(self, job: Job) -> Worker | None:
        """Find or hire a worker for a job."""
        for worker, jobs in self._hands.items():
            apart = job.alone or any(other.alone for other in jobs.values())
            if not jobs or (len(jobs) < self._together and not apart):
                return worker
        if len(self._hands) == self._number:
            return None
        with signals_blocked():
            worker = Worker.hire(*self._equipment)
        self._hands[worker] = {}
        return worker

    def _hear(self, worker: Worker) -> None:
        """Take one message from a worker, or learn of its death."""
        if worker not in self._hands:  # dismissed since it spoke
            return
        try:
            message: str | Report = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if isinstance(message, str):
            self._display.say(message)
            return
        key, told = message
        if isinstance(told, int):
            self._hands[worker][key].reach(told)
            return
        self._conclude(self._hands[worker].pop(key), told)
        if told.status in {"failed", "crowded"}:
            self._let_go(worker)  # what broke one run (a CUDA error, memory in pieces) would break the next

    def _let_go(self, worker: Worker, patience: float = 0.0) -> tuple[list[Job], str]:
        """End a worker; the runs in its hands wait again, from their checkpoints. Returns them, and how it ended."""
        how, jobs = worker.dismiss(patience), [*self._hands.pop(worker).values()]
        for job in jobs:
            self._put_back(job)
        return jobs, how

    def _bury(self, worker: Worker) -> None:
        """Note that a worker died, and give its runs again, unless too many have died of one."""
        jobs, how = self._let_go(worker, patience=5.0)
        for job in jobs:
            job.deaths += 1
            job.alone = True  # the next time it takes no other along
            if job.deaths < DEATHS:
                self._display.say(f"{job.label}: its worker died ({how}); the run goes on from its checkpoint")
                continue
            self._waiting.remove(job)
            reason = f"{DEATHS} workers died of it, the last one {how}; too little memory?"
            results = self._equipment[0]
            self._conclude(job, give_up(results, job.run, reason, time.monotonic() - job.given_at))

    def _conclude(self, job: Job, reply: Reply) -> None:
        """Book how an attempt on a run ended."""
        if reply.status == "busy":
            if not job.awaited:
                self._display.say(f"{job.label}: another deeptwins trains it; this one looks again later")
            job.awaited, job.due = True, time.monotonic() + AGAIN_S
            self._put_back(job)
        elif reply.status == "crowded":
            self._display.say(f"{job.label}: out of memory beside other runs; it goes on from its checkpoint, alone")
            job.alone = True
            self._put_back(job)
        elif reply.status == "stopped":
            self._put_back(job)
        elif reply.status == "unusable":
            self._unusable = self._unusable or reply.reason
            self._put_back(job)
        else:
            self._ended[reply.status] += 1
            if job.iteration:
                job.reach(job.run.recipe.iterations)
                self._spent = (self._spent[0] + job.going.done, self._spent[1] + job.going.seconds)
            self._display.say(f"{job.label}  {_summary(self._equipment[0], job.run, reply)}")

    def _put_back(self, job: Job) -> None:
        self._waiting = sorted([*self._waiting, job], key=lambda job: self._rank[job])

    def _stop(self) -> None:
        """Have the runs on the workers saved; one that has not come as far as a report has nothing to save."""
        self._stopping = True
        for worker, jobs in list(self._hands.items()):
            if any(job.iteration for job in jobs.values()):
                with suppress(OSError):
                    worker.pipe.send(None)
            elif jobs:
                self._let_go(worker)
        if self._busy:
            again = " (Ctrl-C again stops at once)" if self._signals else ""
            self._display.say(f"stopping: the runs on the workers are saved first{again}")

    def _state(self) -> State:
        going = [job.going for job in self._busy]
        left = sum(attempt.left for attempt in going) + sum(job.cost for job in self._waiting)
        return State(
            total=self._total,
            done=self._ended["done"],
            diverged=self._ended["diverged"],
            failed=self._ended["failed"],
            running=[(job.label, job.iteration, job.run.recipe.iterations) for job in self._busy],
            elsewhere=sum(job.awaited for job in self._waiting),
            fraction=1 - left / self._work,
            left_s=seconds_left(
                going,
                [job.cost for job in self._waiting if not job.awaited],
                self._spent,
                self._number * self._together,
            ),
        )


def _summary(results: Path, run: RunSpec, reply: Reply) -> str:
    """What became of a run, in one line: its twins' training errors at the end, and the time it took."""
    if reply.status == "failed":
        return f"failed: {reply.reason}"
    errors: dict[str, str] = {}
    parts = []
    for record in records.read(records.path_of(results, run.study, run.id)):
        if record["kind"] == "epoch":
            errors[record["twin"]] = f"{record['train_error_pct']:.1f} %"
        elif record["kind"] == "end":
            parts = [f"({duration(record['seconds'])})"]
            if record["status"] == "diverged":
                parts.insert(0, f"diverged: {record['reason']}")
    return "  ".join([*(f"{twin} {error}" for twin, error in errors.items()), *parts])
