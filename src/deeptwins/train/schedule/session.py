"""A session: gives the jobs to the crew, and decides what becomes of both."""

from __future__ import annotations

import math
import time
from types import FrameType

from deeptwins import records
from deeptwins.errors import InputError
from deeptwins.records import RunFiles
from deeptwins.system import signals
from deeptwins.train.schedule.attempts import Reply, give_up
from deeptwins.train.schedule.crew import Crew
from deeptwins.train.schedule.jobs import Job, Jobs
from deeptwins.train.schedule.progress import Display, duration
from deeptwins.train.schedule.workers import Message, Worker
from deeptwins.train.training import Standing

DEATHS = 3  # of workers, on one run
KILLED = "killed by SIGKILL"  # as the system does where memory is too little
RESERVE, LEAST_S, MOST_S = 0.05, 5.0, 30.0  # of the time until a deadline, kept to save the runs in hand
PARTING_S = 2.0  # before a deadline: for the processes to be gone by then
AGAIN_S = 2.0  # how soon a run that another deeptwins trains is looked at again
TICK_S = 0.2  # how often the display is updated, and signals and deadline are looked at


class Session:
    """The parent's side of the workers."""

    def __init__(self, jobs: Jobs, crew: Crew, display: Display, deadline: float = math.inf) -> None:
        """Prepare; nothing starts before `work`.

        Args:
            jobs: what to train.
            crew: who trains it.
            display: shows what happens.
            deadline: on the monotonic clock: until then, everything is saved and all workers are gone.
        """
        self._jobs = jobs
        self._crew = crew
        self._display = display
        self._signals: list[int] = []
        self._stopping = False
        self._unusable: str | None = None
        self.out_of_time = False
        """Whether it ended because the deadline came near."""
        self._deadline = deadline - PARTING_S
        left = deadline - time.monotonic()
        self._last_call = deadline - PARTING_S - min(MOST_S, max(LEAST_S, RESERVE * left))

    def work(self) -> None:
        """Train until nothing is left to do, or until a signal, the time or the results folder says to stop.

        Raises:
            InputError: the results can no longer be written or read.
        """
        with signals.handled(self._note):
            try:
                shown = -math.inf
                while self._crew.busy or (self._jobs.waiting and not self._stopping):
                    # Give out what can be given out, and hear what the workers have to say.
                    self._give_out()
                    for worker in self._crew.speaking(TICK_S):
                        self._hear(worker)
                    # Stop where there is a reason to.
                    now = time.monotonic()
                    if not self._stopping:
                        self.out_of_time = now >= self._last_call
                        if self._signals or self._unusable or self.out_of_time:
                            self._stop()
                    if now >= self._deadline:
                        break  # runs that are not saved by now go on from an earlier checkpoint
                    # Show where the session stands, less often than many workers wake this loop.
                    if now - shown >= TICK_S:
                        shown = now
                        self._show()
                self._show()
            except KeyboardInterrupt:
                pass
            finally:
                self._crew.disband()
        if self._unusable:
            finished = self._jobs.ended["done"] + self._jobs.ended["diverged"]
            raise InputError(
                f"{self._unusable}; {finished} of {self._jobs.total} runs are finished and stay; mend this, and"
                " the same command (without --fresh) goes on"
            )

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal to stop; where somebody asks twice, obey at once."""
        # Closed terminals and schedulers send warnings several times, and beside others: that is no impatience.
        self._signals.append(number)
        if number in signals.ASKED and sum(one in signals.ASKED for one in self._signals) > 1:
            raise KeyboardInterrupt

    def _give_out(self) -> None:
        """Give the jobs that are due to the crew, until it can take no more."""
        if self._stopping:
            return
        now = time.monotonic()
        for job in [job for job in self._jobs.waiting if job.due <= now]:
            if not self._crew.give(job):
                return
            self._jobs.waiting.remove(job)

    def _hear(self, worker: Worker) -> None:
        """Take one message from a worker, or learn of its death."""
        if not self._crew.employs(worker):  # dismissed since it spoke
            return
        try:
            message: str | Message = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker)
            return
        if isinstance(message, str):
            self._display.say(message)
            return
        key, news = message
        if isinstance(news, Standing):
            self._crew.job(worker, key).reach(*news)
            return
        self._conclude(self._crew.take(worker, key), news)
        if news.status in {"failed", "crowded"}:
            # What broke one run (a CUDA error, memory in pieces) would break the next: another worker takes the others.
            jobs, _ = self._crew.dismiss(worker)
            self._put_back(jobs)

    def _bury(self, worker: Worker) -> None:
        """Note that a worker died, and let its runs wait again, unless too many workers have died of one."""
        jobs, how = self._crew.dismiss(worker, patience=5.0)
        for job in jobs:
            job.deaths += 1
            job.alone = True  # the next time it takes no other run along
            if job.deaths < DEATHS:
                self._jobs.put_back(job)
                self._display.say(f"{job.label}: its worker died ({how}); the run goes on from its checkpoint")
                continue
            likely = "too little memory?" if how == KILLED else "does a part of your own end Python?"
            reason = f"{DEATHS} workers died of it, the last one {how}; {likely}"
            self._conclude(job, give_up(self._files(job), reason, time.monotonic() - job.given_at))

    def _conclude(self, job: Job, reply: Reply) -> None:
        """Book how an attempt on a run ended."""
        if reply.status == "busy":
            if not job.awaited:
                self._display.say(f"{job.label}: another deeptwins trains it; this one looks again later")
            job.awaited, job.due = True, time.monotonic() + AGAIN_S
            self._jobs.put_back(job)
        elif reply.status == "crowded":
            self._display.say(f"{job.label}: out of memory beside other runs; it goes on from its checkpoint, alone")
            job.alone = True
            self._jobs.put_back(job)
        elif reply.status == "stopped":
            self._jobs.put_back(job)
        elif reply.status == "unusable":
            self._unusable = self._unusable or reply.reason
            self._jobs.put_back(job)
        else:
            self._jobs.end(job, reply.status)
            self._display.say(f"{job.label}  {_summary(self._files(job), reply)}")

    def _put_back(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._jobs.put_back(job)

    def _stop(self) -> None:
        """Give out no more, and have the runs in hand saved."""
        self._stopping = True
        self._display.settle()
        self._put_back(self._crew.save())
        if self._crew.busy:
            again = " (Ctrl-C again stops at once)" if self._signals else ""
            self._display.say(f"stopping: the runs on the workers are saved first{again}")

    def _show(self) -> None:
        self._display.update(self._jobs.state(self._crew.busy, self._crew.team.places))

    def _files(self, job: Job) -> RunFiles:
        return RunFiles.of(self._crew.equipment.results, job.run)


def _summary(files: RunFiles, reply: Reply) -> str:
    """What became of a run, in one line: its twins' training errors at the end, and the time it took."""
    if reply.status == "failed":
        return f"failed: {reply.reason}"
    errors: dict[str, str] = {}
    parts = []
    for record in records.read(files.records):
        if record["kind"] == "epoch":
            errors[record["twin"]] = f"{record['train_error_pct']:.1f} %"
        elif record["kind"] == "end":
            parts = [f"({duration(record['seconds'])})"]
            if record["status"] == "diverged":
                parts.insert(0, f"diverged: {record['reason']}")
    return "  ".join([*(f"{twin} {error}" for twin, error in errors.items()), *parts])
