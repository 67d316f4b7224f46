"""The crew of a session: its workers, and the jobs that each of them has in hand."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection

from deeptwins.train.schedule.attempts import Assignment
from deeptwins.train.schedule.jobs import Job
from deeptwins.train.schedule.workers import Equipment, RunKey, Worker


@dataclass(frozen=True)
class Team:
    """How many train."""

    workers: int
    together: int
    """Runs that each worker trains at once."""

    @property
    def places(self) -> int:
        """Runs that are trained at once by all of them."""
        return self.workers * self.together


class Crew:
    """Workers are hired when they are needed, up to the size of the team."""

    def __init__(self, team: Team, equipment: Equipment) -> None:
        self.team = team
        self.equipment = equipment
        self._hands: dict[Worker, dict[RunKey, Job]] = {}

    @property
    def busy(self) -> list[Job]:
        """The jobs in the workers' hands."""
        return [job for jobs in self._hands.values() for job in jobs.values()]

    def give(self, job: Job) -> bool:
        """Give a job to a worker; False where no worker can take it now."""
        worker = self._free(job)
        if worker is None:
            return False
        self._hands[worker][job.key] = job
        job.give()
        with suppress(OSError):  # a worker that has died is noticed when its pipe is read
            worker.pipe.send(Assignment(job.run, job.awaited))
        return True

    def speaking(self, patience: float) -> list[Worker]:
        """The workers that have something to say, or have died; waits so many seconds for the first of them."""
        workers = {worker.pipe: worker for worker in self._hands}
        return [workers[pipe] for pipe in connection.wait(list(workers), patience)]  # type: ignore[index]

    def employs(self, worker: Worker) -> bool:
        """Whether a worker has not been dismissed."""
        return worker in self._hands

    def job(self, worker: Worker, key: RunKey) -> Job:
        """A job in a worker's hands."""
        return self._hands[worker][key]

    def take(self, worker: Worker, key: RunKey) -> Job:
        """Take a job out of a worker's hands."""
        return self._hands[worker].pop(key)

    def dismiss(self, worker: Worker, patience: float = 0.0) -> tuple[list[Job], str]:
        """End a worker; returns the jobs that it had in hand, and how it ended."""
        how = worker.dismiss(patience)
        return [*self._hands.pop(worker).values()], how

    def save(self) -> list[Job]:
        """Have the runs in hand saved and stopped.

        A worker none of whose runs has come as far as a report has nothing to save, and is ended at once.

        Returns:
            The jobs of the workers that were ended.
        """
        dropped: list[Job] = []
        for worker, jobs in list(self._hands.items()):
            if any(job.iteration for job in jobs.values()):
                with suppress(OSError):
                    worker.pipe.send(None)
            elif jobs:
                dropped += self.dismiss(worker)[0]
        return dropped

    def disband(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self._hands:
            worker.dismiss()

    def _free(self, job: Job) -> Worker | None:
        """Find or hire a worker for a job."""
        for worker, jobs in self._hands.items():
            apart = job.alone or any(other.alone for other in jobs.values())
            if not jobs or (len(jobs) < self.team.together and not apart):
                return worker
        if len(self._hands) == self.team.workers:
            return None
        worker = Worker.hire(self.equipment)
        self._hands[worker] = {}
        return worker
