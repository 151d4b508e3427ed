"""Puts actions that may run on the desk: instant input at once, other input in order, the rest side by side.

Right before a job is done, in the same step, the referee is asked once more whether it may be. What a job reports
and to whom, and everything before it may run, is the runner's business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from nexus_agent.capture import Capture
from nexus_agent.capture.grabber import Grabber
from nexus_agent.input import Input
from nexus_protocol.actions import Action, Execute, FileRead, FileWrite, Move, Press, Screenshot, Type, kind_of
from nexus_protocol.errors import NexusError
from nexus_protocol.vocabulary import ActionState

from . import commands, files
from .hands import INPUT, Hands
from .ledger import Job, Origin
from .outcome import Outcome, in_thread
from .screenshots import screenshot

_log = structlog.get_logger()

_STOPPABLE = (Type, Execute, Screenshot)
"""What a cancellation can stop once it runs; the others are over in a moment, and their end is the truth."""


class Desk(Protocol):
    """What actions need of a desk (nexus_agent.desks)."""

    @property
    def capture(self) -> Capture: ...
    @property
    def input(self) -> Input: ...
    @property
    def environment(self) -> dict[str, str]: ...


class Referee(Protocol):
    def refusal(self, job: Job) -> Outcome | None:
        """Why the job may not run after all, as its end."""

    def running(self, job: Job) -> None:
        """A job that takes time has begun."""

    def end(self, job: Job, outcome: Outcome) -> None:
        """The job has ended; does nothing for one that ended before."""


class Dispatcher:
    def __init__(self, desk: Desk, grabber: Grabber, referee: Referee, clock: Callable[[], float]) -> None:
        self._desk = desk
        self._grabber = grabber
        self._referee = referee
        self._clock = clock
        self._hands = Hands(desk.input, clock)
        self._queue: deque[Job] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, job: Job) -> None:
        if not isinstance(job.action, INPUT):
            self.spawn(job, self._run)
        elif self._worker is None and Hands.instant(job.deed):
            self._do_now(job)
        else:
            self._enqueue(job)

    def spawn(self, job: Job, work: Callable[[Job], Awaitable[None]]) -> asyncio.Task[None]:
        """Run part of a job's way as a task; whatever happens to the work, the job ends, and only the job."""
        job.task = asyncio.create_task(self._guard(job, work), name=f"action-{kind_of(job.action)}")
        self._tasks.add(job.task)
        job.task.add_done_callback(lambda task: self._done(task, job))
        return job.task

    def stop(self, job: Job, why: str) -> None:
        """Cancel a job that waits for its turn, or runs and can be stopped."""
        if job.task is None:
            self._referee.end(job, Outcome(why, state=ActionState.CANCELLED))  # its turn is skipped
        elif job.started is None or isinstance(job.action, _STOPPABLE):
            job.cancelled = why
            job.task.cancel()

    def left(self, origin: Origin) -> None:
        """Release what the session holds down."""
        self._hands.let_go(origin)

    async def close(self) -> None:
        """Release every key and button; return when nothing runs any more. Every job has been told to stop."""
        self._hands.let_go_all()
        await asyncio.gather(*self._tasks, *filter(None, (self._worker,)), return_exceptions=True)
        self._hands.let_go_all()

    # -- input ----------------------------------------------------------------------------------------------

    def _enqueue(self, job: Job) -> None:
        last = self._queue[-1] if self._queue else None
        if last is not None and isinstance(last.action, Move) and isinstance(job.action, Move):
            self._queue.pop()  # only the newest place of the pointer matters
            self._referee.end(last, Outcome())
        self._queue.append(job)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="input")

    async def _work(self) -> None:
        """The input that could not be done at once, one after the other."""
        try:
            while self._queue:
                job = self._queue.popleft()
                if job.ended:
                    continue
                if Hands.instant(job.deed):
                    self._do_now(job)
                else:
                    await asyncio.wait({self.spawn(job, self._run)})
        finally:
            self._worker = None

    def _do_now(self, job: Job) -> None:
        try:
            if not self._may_start(job):
                return
            done = self._hands.do(job.deed, job.origin)
        except NexusError as error:
            self._referee.end(job, Outcome(str(error), state=ActionState.FAILED))
            return
        except Exception:  # noqa: BLE001 - as in _guard
            self._broken(job)
            return
        if done is None:
            job.shown = None
        else:
            job.shown, job.started = done
        self._referee.end(job, Outcome())

    # -- what takes time ------------------------------------------------------------------------------------

    async def _run(self, job: Job) -> None:
        if self._may_start(job):
            self._referee.running(job)
            self._referee.end(job, await self._perform(job.deed))

    async def _perform(self, action: Action) -> Outcome:
        match action:
            case Screenshot():
                return await screenshot(action, self._desk.capture, self._grabber)
            case Execute():
                return await commands.execute(action, self._desk.environment)
            case FileRead(path=path):
                content = await in_thread(files.read, path)
                return Outcome(f"{len(content):,} bytes", data=content)
            case FileWrite(path=path, data=data):
                await in_thread(files.write, path, data)
                return Outcome(f"{len(data):,} bytes")
            case _:
                await self._hands.do_slowly(action)
                return Outcome()

    def _may_start(self, job: Job) -> bool:
        refusal = self._referee.refusal(job)
        if refusal is None and isinstance(job.action, Press) and job.origin.gone:
            # Nobody would be left to release it.
            refusal = Outcome("the link ended before the button was pressed", state=ActionState.CANCELLED)
        if refusal is not None:
            self._referee.end(job, refusal)
            return False
        job.started = self._clock()
        return True

    async def _guard(self, job: Job, work: Callable[[Job], Awaitable[None]]) -> None:
        try:
            await work(job)
        except NexusError as error:
            state = ActionState.CANCELLED if job.cancelled else ActionState.FAILED
            self._referee.end(job, Outcome(str(error), state=state))
        except Exception:  # noqa: BLE001 - one action's bug must not end a session, and it is logged
            self._broken(job)

    def _broken(self, job: Job) -> None:
        _log.exception("action failed", kind=kind_of(job.action))
        self._referee.end(job, Outcome("the agent met an error of its own; see its log", state=ActionState.FAILED))

    def _done(self, task: asyncio.Task[None], job: Job) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # perhaps before it ran at all, so this cannot be left to the task
            self._referee.end(job, Outcome(job.cancelled, state=ActionState.CANCELLED))
