"""An action's way through the agent, from asked for to its one end.

    submit ─> checks ─> policy ─ deny ───────────────────────────────> DENIED
                           ├─ ask ──> request ─ denied, expired, … ──> DENIED, EXPIRED, CANCELLED
                           │             └ approved ┐
                           └─ allow ────────────────┴─> policy again, and in that same step it is done

An id runs at most once. What waits for a person is in `permissions.requests`, what was seen before in `ledger`, the
order of what runs in `dispatcher`, and how it is done in the modules beside them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from nexus_agent.capture.grabber import Grabber
from nexus_agent.permissions.operators import role_here
from nexus_agent.permissions.policy import Decision, Policy
from nexus_agent.permissions.requests import Request, RequestTable
from nexus_protocol.actions import (
    Action,
    Admission,
    Asked,
    FileRead,
    FileWrite,
    Key,
    Move,
    Release,
    describe,
    kind_of,
    payload_hash,
    place_of,
)
from nexus_protocol.errors import NexusError, Refused
from nexus_protocol.keys import parse_chord
from nexus_protocol.messages import ActionReport, Decide, RequestClosed, RequestOpened, Result
from nexus_protocol.vocabulary import ActionState, Effect, RequestState

from . import files
from .checks import check
from .dispatcher import Desk, Dispatcher
from .hands import STEPS
from .ledger import Actor, Ended, Job, Ledger, Origin
from .outcome import Outcome, in_thread

GRACE = 10.0
"""Seconds that requests outlast their operator's last session: time to dial again, not to be decided unwatched."""


class Audience(Protocol):
    """Where news of actions goes; must not block."""

    def tell(self, news: ActionReport | RequestOpened | RequestClosed, actor: Actor) -> None:
        """To everyone who may hear of what ``actor`` does."""

    def deliver(self, result: Result, origin: Origin) -> None:
        """To the session that asked, or, if it is gone, to the same operator's others."""

    def present(self, actor: Actor) -> bool:
        """Whether this operator has a session."""

    def admitted(self, origin: Origin) -> bool:
        """Whether whoever came by that session, which may be gone, may still come to this desk as they did."""


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
        self._audience = audience
        self._clock = clock
        self._dispatcher = Dispatcher(desk, grabber, self, clock)
        self._ledger = Ledger()
        self._next_number = 1
        self._waiting_jobs: dict[int, Job] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._farewells: dict[Actor, asyncio.TimerHandle] = {}

    # -- what sessions call ---------------------------------------------------------------------------------

    def submit(self, origin: Origin, id: str, action: Action) -> None:
        """Take an action in. It ends with one Result to the audience, sooner or later."""
        # Steps of a gesture get no line of their own: the hands say what they came to.
        shown = None if isinstance(action, Move | Release) else action
        job = Job(id, origin, action, asked=hash(action), shown=shown)
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
            self.end(job, Outcome(str(error), state=ActionState.FAILED))
            return
        if isinstance(action, FileRead | FileWrite):
            self._dispatcher.spawn(job, self._find_file)
            return
        if isinstance(action, Key):  # one chord, however it is written, is one to the policy and in the log
            job.action = job.shown = Key(chord=str(parse_chord(action.chord)))
        self._judge(job)

    def ask_to_admit(self, origin: Origin, id: str, admission: Admission) -> float:
        """Have the approvers decide whether a stranger comes in; the seconds they have. It ends with one Result.

        Raises NexusError when too much waits already.
        """
        job = Job(id, origin, admission, asked=hash(admission), shown=admission)
        self._ledger.begin(job)
        self._ask(job, Decision(Effect.ASK, "this key is not known here"))
        return self.policy.timeout

    def cancel(self, origin: Origin, id: str) -> None:
        """Withdraw an action that waits, stop one that runs; one that has ended stays as it is."""
        job = self._ledger.find(origin.actor, id)
        if isinstance(job, Job):
            self._cancel(job, "cancelled")

    def decide(self, origin: Origin, decision: Decide) -> None:
        """Raises Refused for a decision that cannot stand."""
        if not self._audience.admitted(origin):
            raise Refused(f"{origin.actor.subject} may not decide any more")
        self._check_admission(origin, decision)
        request = self.requests.decide(
            decision.request,
            decision.payload_hash,
            approve=decision.approve,
            by=origin.actor.subject,
            approver=origin.approver,
            reason=decision.reason,
        )
        job = self._closed(request)
        if decision.approve and isinstance(job.action, Admission):
            self.end(job, Outcome(request.by))
        elif decision.approve:
            self._dispatcher.start(job)
        else:
            reason = f": {decision.reason}" if decision.reason else ""
            self.end(job, Outcome(f"by {request.by}{reason}", state=ActionState.DENIED))

    def _check_admission(self, origin: Origin, decision: Decide) -> None:
        """Nobody lets a stranger in as more than they are. Raises Refused."""
        asked = self.requests.find(decision.request)
        if asked is None or not isinstance(asked.action, Admission) or not decision.approve:
            return
        if role_here(asked.action.role, origin.actor.role) is not asked.action.role:
            raise Refused(f"{origin.actor.subject} is {origin.actor.role}, and lets nobody in as more than that")

    def left(self, origin: Origin) -> None:
        """The session's link has ended: what it holds down is released. What it asked for goes on.

        What waits for a decision does so only for GRACE seconds, unless the operator is back by then.
        """
        self._dispatcher.left(origin)
        if (before := self._farewells.pop(origin.actor, None)) is not None:
            before.cancel()
        if any(job.actor == origin.actor for job in self._ledger.under_way):
            timer = asyncio.get_running_loop().call_later(GRACE, self._give_up, origin.actor)
            self._farewells[origin.actor] = timer

    @property
    def busy(self) -> bool:
        """Whether anything waits or runs."""
        return bool(self._ledger.under_way)

    def dismiss(self) -> None:
        """Rights were taken back: withdraw what waits, and stop what runs, for whoever has lost theirs; gone or not."""
        for job in self._ledger.under_way:
            if not self._audience.admitted(job.origin):
                self._cancel(job, "the right to do this was taken back")

    def pending(self) -> list[RequestOpened]:
        """What waits for a decision now."""
        return [self._opened(request) for request in self.requests]

    def expire_due(self) -> None:
        """End the requests whose time is over. Called by the runner's own alarm."""
        for request in self.requests.expire():
            job = self._closed(request)
            self.end(job, Outcome("nobody decided in time", state=ActionState.EXPIRED))
        self._set_alarm()

    async def close(self) -> None:
        """End everything that is under way, and release every key and button."""
        for job in self._ledger.under_way:
            self._cancel(job, "the agent is shutting down")
        await self._dispatcher.close()
        for timer in (self._alarm, *self._farewells.values()):
            if timer is not None:
                timer.cancel()
        self._farewells.clear()

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
        job.action = job.shown = msgspec.structs.replace(job.action, path=path)
        self._judge(job)

    def _judge(self, job: Job) -> None:
        decision = self._decision(job)
        if decision.effect is Effect.ALLOW:
            self._dispatcher.start(job)
        elif decision.effect is Effect.DENY:
            self.end(job, Outcome(decision.why, state=ActionState.DENIED))
        elif isinstance(job.action, STEPS):
            why = f"held buttons cannot be asked for step by step ({decision.why}); use click or drag"
            self.end(job, Outcome(why, state=ActionState.DENIED))
        else:
            self._ask(job, decision)

    def _decision(self, job: Job) -> Decision:
        return self.policy.decide(job.actor.role, job.actor.subject, job.deed)

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
            self.end(job, Outcome(str(error), state=ActionState.FAILED))
            return
        self._waiting_jobs[job.request.id] = job
        self._report(job, job.action, ActionState.WAITING, decision.why)
        self._audience.tell(self._opened(job.request), job.actor)
        self._set_alarm()

    def _give_up(self, actor: Actor) -> None:
        """Withdraw what an operator who has not come back still waits for."""
        del self._farewells[actor]
        if not self._audience.present(actor):
            for job in [job for job in self._waiting_jobs.values() if job.actor == actor]:
                self._cancel(job, "whoever asked has gone")

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

    # -- what the dispatcher asks and tells -----------------------------------------------------------------

    def refusal(self, job: Job) -> Outcome | None:
        """Why the job may not run after all, whatever was decided earlier; asked right before it is done."""
        if not self._audience.admitted(job.origin):
            return Outcome("the right to do this was taken back", state=ActionState.DENIED)
        decision = self._decision(job)
        if decision.effect is Effect.ALLOW:
            return None
        if decision.effect is Effect.DENY:
            return Outcome(decision.why, state=ActionState.DENIED)
        if job.request is None or job.request.state is not RequestState.APPROVED:
            return Outcome(f"not approved: {decision.why}", state=ActionState.DENIED)
        if job.request.payload_hash != payload_hash(job.action):
            return Outcome("not the action that was approved", state=ActionState.DENIED)
        return None

    def running(self, job: Job) -> None:
        self._report(job, job.action, ActionState.RUNNING)

    def _cancel(self, job: Job, why: str) -> None:
        if job.request is not None and self.requests.withdraw(job.request.id) is not None:
            self._closed(job.request)
            self._set_alarm()
            self.end(job, Outcome(why, state=ActionState.CANCELLED))
        else:
            self._dispatcher.stop(job, why)

    def end(self, job: Job, outcome: Outcome) -> None:
        """The one end of a job."""
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
        if job.shown is not None:
            self._report(job, job.shown, outcome.state, outcome.message)
        self._audience.deliver(result, job.origin)

    def _number(self, job: Job) -> int:
        if not job.number:
            job.number = self._next_number
            self._next_number += 1
        return job.number

    def _report(self, job: Job, shown: Asked, state: ActionState, message: str = "") -> None:
        report = ActionReport(
            number=self._number(job),
            who=job.actor.subject,
            role=job.actor.role,
            kind=kind_of(shown),
            summary=describe(shown),
            state=state,
            message=message,
            duration=self._clock() - job.started if job.started is not None and state.ended else 0.0,
            place=place_of(shown),
        )
        self._audience.tell(report, job.actor)
