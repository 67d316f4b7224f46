"""The jobs of a session: the runs that wait to be trained, and the count of those that ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deeptwins.study.specs import RunSpec
from deeptwins.train.schedule.progress import Effort, Going, Running, State, seconds_left
from deeptwins.train.schedule.workers import RunKey


@dataclass(eq=False)
class Job:
    """A run to train, and what the session has seen of it. Times are of the monotonic clock."""

    run: RunSpec
    label: str
    cost: float
    """FLOPs."""
    due: float = 0.0
    """The time before which the job is not given out."""
    awaited: bool = False
    """Whether another deeptwins has it."""
    alone: bool = False
    """Whether it must be trained beside no other run."""
    deaths: int = 0
    """How many workers died with it in hand."""
    given_at: float = 0.0
    first: int = 0
    """The iteration of the worker's first report."""
    first_at: float = 0.0
    iteration: int = 0
    """The iteration of the last report; 0 before the first."""
    errors: Mapping[str, float] = field(default_factory=dict)
    """By twin, the training error of the last report, percent."""

    def give(self) -> None:
        """Begin an attempt: forget what an earlier worker reported."""
        self.given_at, self.iteration, self.errors = time.monotonic(), 0, {}

    def reach(self, iteration: int, errors: Mapping[str, float]) -> None:
        """Note a report."""
        if not self.iteration:
            self.first, self.first_at = iteration, time.monotonic()
        self.iteration, self.errors = iteration, errors

    @property
    def key(self) -> RunKey:
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


class Jobs:
    """All jobs of a session. Those in the workers' hands are not among those that wait."""

    def __init__(self, jobs: Sequence[Job], ended: Counter[str]) -> None:
        """Let all jobs wait.

        Args:
            jobs: in the order in which they are to be given out.
            ended: runs by status that ended before this session; counted on.
        """
        self.waiting = list(jobs)
        self.ended = ended
        self.total = ended.total() + len(jobs)
        self._rank = {job: i for i, job in enumerate(jobs)}
        self._cost = sum(job.cost for job in jobs)
        self._spent = Effort(0.0, 0.0)

    def put_back(self, job: Job) -> None:
        """Let a job wait again, in its old place among the others."""
        self.waiting = sorted([*self.waiting, job], key=lambda job: self._rank[job])

    def end(self, job: Job, status: str) -> None:
        """Count a run that ended."""
        self.ended[status] += 1
        if job.iteration:
            job.reach(job.run.recipe.iterations, job.errors)
            self._spent += job.going.effort

    def state(self, busy: Sequence[Job], places: int) -> State:
        """Where the session stands, with some jobs in the workers' hands, which have so many places in all."""
        going = [job.going for job in busy]
        left = sum(attempt.left for attempt in going) + sum(job.cost for job in self.waiting)
        waiting = [job.cost for job in self.waiting if not job.awaited]
        return State(
            total=self.total,
            done=self.ended["done"],
            diverged=self.ended["diverged"],
            failed=self.ended["failed"],
            running=[Running(job.label, job.iteration, job.run.recipe.iterations, job.errors) for job in busy],
            elsewhere=sum(job.awaited for job in self.waiting),
            fraction=1 - left / self._cost,
            left_s=seconds_left(going, waiting, self._spent, places),
        )
