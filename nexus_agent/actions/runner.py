"""An action's way through the agent, from asked for to its one end.

    submit ─> checks ─> policy ─ deny ───────────────────────────────> DENIED
                           ├─ ask ──> request ─ denied, expired, … ──> DENIED, EXPIRED, CANCELLED
                           │             └ approved ┐
                           └─ allow ────────────────┴─> policy again, and in that same step it is done

Input goes to the desk in the order it was asked for, and at once when nothing is before it. An id runs at most once.
What waits for a person is in `permissions.requests`, what was seen before in `ledger`, how things are done in the
modules beside this one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from types import EllipsisType
from typing import Protocol

import msgspec
import structlog

from nexus_agent.capture import Capture
from nexus_agent.capture.grabber import Grabber
from nexus_agent.input import Input
from nexus_agent.permissions.policy import Decision, Policy
from nexus_agent.permissions.requests import Request, RequestTable
from nexus_protocol.actions import (
    Action,
    Execute,
    FileRead,
    FileWrite,
    Move,
    Press,
    Release,
    Screenshot,
    Type,
    describe,
    kind_of,
    payload_hash,
    place_of,
)
from nexus_protocol.errors import NexusError
from nexus_protocol.messages import ActionReport, Decide, RequestClosed, RequestOpened, Result
from nexus_protocol.vocabulary import ActionState, Effect, RequestState

from . import commands, files
from .checks import check
from .hands import INPUT, STEPS, Hands
from .ledger import Actor, Ended, Job, Ledger, Origin
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


class Audience(Protocol):
    """Where news of actions goes; must not block."""

    def tell(self, news: ActionReport | RequestOpened | RequestClosed, actor: Actor) -> None:
        """To everyone who may hear of what ``actor`` does."""

    def deliver(self, result: Result, origin: Origin) -> None:
        """To the session that asked, or, if it is gone, to the same operator's others."""


class Runner:
    """All actions of one desk."""

    def __init__(
        self,
        desk: Desk,
        grabber: Grabber,
        policy: Policy,
        audience: Audience,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy = policy
        self.requests = RequestTable(clock)
        self._desk = desk
        self._grabber = grabber
        self._audience = audience
        self._clock = clock
        self._hands = Hands(desk.input, clock)
        self._ledger = Ledger()
        self._next_number = 1
        self._waiting_jobs: dict[int, Job] = {}
        self._input_queue: deque[Job] = deque()
        self._input_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None

    # -- what sessions call ---------------------------------------------------------------------------------

    def submit(self, origin: Origin, id: str, action: Action) -> None:
        """Take an action in. It ends with one Result to the audience, sooner or later."""
        job = Job(id, origin, action, asked=hash(action))
        try:
            if self._repeated(job):
                return
            self._ledger.begin(job)
        except NexusError as error:
            self._audience.deliver(Result(id=id, state=ActionState.FAILED, message=str(error)), origin)
            return
        try:
            check(action, self._desk.capture.size)
        except NexusError as error:
            self._end(job, Outcome(str(error), state=ActionState.FAILED))
            return
        if isinstance(action, FileRead | FileWrite):
            self._spawn(job, self._find_file)
        else:
            self._judge(job)

    def cancel(self, origin: Origin, id: str) -> None:
        """Withdraw an action that waits, stop one that runs; one that has ended stays as it is."""
        job = self._ledger.find(origin.actor, id)
        if isinstance(job, Job):
            self._cancel(job, "cancelled")

    def decide(self, origin: Origin, decision: Decide) -> None:
        """Raises Refused for a decision that cannot stand."""
        request = self.requests.decide(
            decision.request,
            decision.payload_hash,
            approve=decision.approve,
            by=origin.actor.subject,
            role=origin.actor.role,
            reason=decision.reason,
        )
        job = self._closed(request)
        if decision.approve:
            self._start(job)
        else:
            reason = f": {decision.reason}" if decision.reason else ""
            self._end(job, Outcome(f"denied by {request.by}{reason}", state=ActionState.DENIED))

    def left(self, origin: Origin) -> None:
        """The session's link has ended: what it holds down is released. What it asked for goes on."""
        self._hands.let_go(origin)

    def pending(self) -> list[RequestOpened]:
        """What waits for a decision now."""
        return [self._opened(request) for request in self.requests]

    def expire_due(self) -> None:
        """End the requests whose time is over. Called by the runner's own alarm."""
        for request in self.requests.expire():
            job = self._closed(request)
            self._end(job, Outcome("nobody decided in time", state=ActionState.EXPIRED))
        self._set_alarm()

    async def close(self) -> None:
        """End everything that is under way, and release every key and button."""
        tasks = [*self._tasks, *([self._input_task] if self._input_task else [])]
        for job in self._ledger.under_way:
            self._cancel(job, "the agent is shutting down")
        self._hands.let_go_all()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._alarm is not None:
            self._alarm.cancel()

    # -- before it runs -------------------------------------------------------------------------------------

    def _repeated(self, job: Job) -> bool:
        """Whether this id was seen before; then its result goes out again, or to the new session when it comes."""
        seen = self._ledger.find(job.actor, job.id)
        if seen is None:
            return False
        if seen.asked != job.asked:
            raise NexusError(f"the id {job.id} was used for another action; an id names one action only")
        if isinstance(seen, Ended):
            self._audience.deliver(seen.result, job.origin)
        else:
            seen.origin = job.origin
        return True

    async def _find_file(self, job: Job) -> None:
        assert isinstance(job.action, FileRead | FileWrite)
        path = await in_thread(files.real_path, job.action.path)
        job.action = msgspec.structs.replace(job.action, path=path)
        self._judge(job)

    def _judge(self, job: Job) -> None:
        decision = self._decision(job)
        if decision.effect is Effect.ALLOW:
            self._start(job)
        elif decision.effect is Effect.DENY:
            self._end(job, Outcome(f"denied: {decision.why}", state=ActionState.DENIED))
        elif isinstance(job.action, STEPS):
            why = f"held buttons cannot be asked for step by step ({decision.why}); use click or drag"
            self._end(job, Outcome(why, state=ActionState.DENIED))
        else:
            self._ask(job, decision)

    def _decision(self, job: Job) -> Decision:
        return self.policy.decide(job.actor.role, job.actor.subject, job.action)

    def _ask(self, job: Job, decision: Decision) -> None:
        try:
            job.request = self.requests.open(
                job.action,
                who=job.actor.subject,
                role=job.actor.role,
                number=self._number(job),
                timeout=self.policy.timeout,
                why=decision.why,
            )
        except NexusError as error:
            self._end(job, Outcome(str(error), state=ActionState.FAILED))
            return
        self._waiting_jobs[job.request.id] = job
        self._report(job, job.action, ActionState.WAITING, decision.why)
        self._audience.tell(self._opened(job.request), job.actor)
        self._set_alarm()

    def _opened(self, request: Request) -> RequestOpened:
        return RequestOpened(
            request=request.id,
            number=request.number,
            who=request.who,
            role=request.role,
            permission=request.permission,
            action=request.action,
            payload_hash=request.payload_hash,
            seconds=self.requests.seconds_left(request),
            why=request.why,
        )

    def _closed(self, request: Request) -> Job:
        job = self._waiting_jobs.pop(request.id)
        closed = RequestClosed(request=request.id, state=request.state, by=request.by, reason=request.reason)
        self._audience.tell(closed, job.actor)
        return job

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if (deadline := self.requests.next_deadline()) is not None:
            delay = max(0.0, deadline - self._clock())
            self._alarm = asyncio.get_running_loop().call_later(delay, self.expire_due)

    # -- running it -----------------------------------------------------------------------------------------

    def _start(self, job: Job) -> None:
        if not isinstance(job.action, INPUT):
            self._spawn(job, self._run)
        elif self._input_task is None and Hands.instant(job.action):
            self._do_now(job)
        else:
            self._enqueue(job)

    def _enqueue(self, job: Job) -> None:
        last = self._input_queue[-1] if self._input_queue else None
        if last is not None and isinstance(last.action, Move) and isinstance(job.action, Move):
            self._input_queue.pop()  # only the newest place of the pointer matters
            self._end(last, Outcome())
        self._input_queue.append(job)
        if self._input_task is None:
            self._input_task = asyncio.create_task(self._work(), name="input")

    async def _work(self) -> None:
        """The input that could not be done at once, one after the other."""
        try:
            while self._input_queue:
                job = self._input_queue.popleft()
                if job.ended:
                    continue
                if Hands.instant(job.action):
                    self._do_now(job)
                else:
                    await asyncio.wait({self._spawn(job, self._run)})
        finally:
            self._input_task = None

    def _do_now(self, job: Job) -> None:
        """One instant input action; the permission is checked in the very step that does it."""
        if (refusal := self._refusal(job)) is not None:
            self._end(job, refusal)
            return
        job.started = self._clock()
        try:
            done = self._hands.do(job.action, job.origin)
        except NexusError as error:
            self._end(job, Outcome(str(error), state=ActionState.FAILED))
            return
        if done is None:
            self._end(job, Outcome(), shown=None)
        else:
            shown, job.started = done
            self._end(job, Outcome(), shown=shown)

    async def _run(self, job: Job) -> None:
        """One action that takes time."""
        if (refusal := self._refusal(job)) is not None:
            self._end(job, refusal)
            return
        job.started = self._clock()
        self._report(job, job.action, ActionState.RUNNING)
        self._end(job, await self._perform(job.action))

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
                return Outcome(await self._hands.do_slowly(action))

    def _refusal(self, job: Job) -> Outcome | None:
        """Why the job may not run after all. Asked right before it is done, whatever was decided earlier."""
        decision = self._decision(job)
        if decision.effect is Effect.ALLOW:
            refusal = ""
        elif decision.effect is Effect.DENY:
            refusal = f"denied: {decision.why}"
        elif job.request is None or job.request.state is not RequestState.APPROVED:
            refusal = f"not approved: {decision.why}"
        elif job.request.payload_hash != payload_hash(job.action):
            refusal = "not what was approved"
        else:
            refusal = ""
        if not refusal and isinstance(job.action, Press) and job.origin.gone:
            refusal = "the link ended before the button could be pressed"
        return Outcome(refusal, state=ActionState.DENIED) if refusal else None

    def _spawn(self, job: Job, work: Callable[[Job], Awaitable[None]]) -> asyncio.Task[None]:
        job.task = asyncio.create_task(self._guard(job, work), name=f"action-{kind_of(job.action)}")
        self._tasks.add(job.task)
        job.task.add_done_callback(lambda task: self._done(task, job))
        return job.task

    def _done(self, task: asyncio.Task[None], job: Job) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # perhaps before it ran at all, so this cannot be left to the task
            self._end(job, Outcome(job.cancelled, state=ActionState.CANCELLED))

    async def _guard(self, job: Job, work: Callable[[Job], Awaitable[None]]) -> None:
        """Whatever happens to the work, the job ends, and only the job."""
        try:
            await work(job)
        except NexusError as error:
            self._end(job, Outcome(str(error), state=ActionState.CANCELLED if job.cancelled else ActionState.FAILED))
        except Exception:
            _log.exception("action failed", kind=kind_of(job.action))
            self._end(job, Outcome("the agent met an error of its own; see its log", state=ActionState.FAILED))

    # -- its end --------------------------------------------------------------------------------------------

    def _cancel(self, job: Job, why: str) -> None:
        if job.request is not None and self.requests.withdraw(job.request.id) is not None:
            self._closed(job.request)
            self._set_alarm()
            self._end(job, Outcome(why, state=ActionState.CANCELLED))
        elif job.task is None:
            self._end(job, Outcome(why, state=ActionState.CANCELLED))  # in the input queue, which skips it
        elif job.started is None or isinstance(job.action, _STOPPABLE):
            job.cancelled = why
            job.task.cancel()

    def _end(self, job: Job, outcome: Outcome, *, shown: Action | None | EllipsisType = ...) -> None:
        """The one end of a job; ``shown`` is what its line in the log says was done, None for no line."""
        if job.ended:
            return
        job.ended = True
        result = Result(
            id=job.id,
            state=outcome.state,
            message=outcome.message,
            data=outcome.data,
            stderr=outcome.stderr,
            exit_code=outcome.exit_code,
        )
        self._ledger.end(job, result)
        if shown is ...:
            shown = None if isinstance(job.action, Move | Release) else job.action
        if shown is not None:
            self._report(job, shown, outcome.state, outcome.message)
        self._audience.deliver(result, job.origin)

    def _number(self, job: Job) -> int:
        if not job.number:
            job.number = self._next_number
            self._next_number += 1
        return job.number

    def _report(self, job: Job, shown: Action, state: ActionState, message: str = "") -> None:
        report = ActionReport(
            number=self._number(job),
            who=job.actor.subject,
            role=job.actor.role,
            kind=kind_of(shown),
            summary=describe(shown),
            state=state,
            message=message,
            duration=0.0 if job.started is None else self._clock() - job.started,
            place=place_of(shown),
        )
        self._audience.tell(report, job.actor)
