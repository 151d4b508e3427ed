"""One operator at one desk: the conversation on one link, from Welcome to its end.

It speaks the protocol and decides nothing: who comes in is the door's business, actions go to the runner, pictures come
from the stream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from nexus_agent.actions.ledger import Actor
from nexus_agent.actions.runner import Runner
from nexus_agent.capture import Capture
from nexus_protocol.errors import LinkClosed, NexusError, ProtocolError, Refused
from nexus_protocol.messages import (
    Act,
    ActionReport,
    Answer,
    Bye,
    Cancel,
    Decide,
    FromAgent,
    Hello,
    Offer,
    Ping,
    Pong,
    RequestClosed,
    RequestOpened,
    SetViewport,
    StreamClock,
    ToAgent,
    Viewport,
    Welcome,
)
from nexus_protocol.vocabulary import Effect, Permission

from .door import AgentLink, Guest

_log = structlog.get_logger()


class LiveStream(Protocol):
    """What a session needs of nexus_agent.stream.Stream."""

    def set_viewport(self, viewport: Viewport) -> None: ...
    def changed(self) -> None: ...
    async def answer(self, offer: str) -> str: ...
    async def close(self) -> None: ...


StreamFactory = Callable[[Callable[[StreamClock], None]], LiveStream]
"""Makes one session's stream; the argument is told how RTP time and the agent's clock fit together."""


class Session:
    """Owns its stream. :meth:`run` returns when the link has ended, for whatever reason."""

    def __init__(
        self,
        link: AgentLink,
        guest: Guest,
        *,
        desk: str,
        instance: str,
        capture: Capture,
        runner: Runner,
        stream_factory: StreamFactory,
    ) -> None:
        self.guest = guest
        self.actor: Actor = guest.actor
        self.approver = guest.approver
        self._link = link
        self._desk = desk
        self._instance = instance
        self._capture = capture
        self._runner = runner
        self._stream_factory = stream_factory
        self._stream: LiveStream | None = None
        self._viewport: Viewport | None = None
        self._answering: asyncio.Task[None] | None = None

    @property
    def gone(self) -> bool:
        return self._link.closed

    async def run(self) -> None:
        try:
            self._welcome()
            while True:
                self._take(await self._link.receive())
        except LinkClosed as end:
            _log.info("link ended", who=self.actor.subject, code=end.code, reason=str(end))
        except ProtocolError as error:
            self.leave("protocol", str(error))
        finally:
            self.leave("shutdown", "the agent has ended this session")
            self._runner.left(self)
            await self._end_stream()

    # -- what the agent tells it ----------------------------------------------------------------------------

    def send(self, message: FromAgent) -> None:
        """Never raises: a link that has ended, or cannot take the message, is `run`'s to deal with."""
        try:
            self._link.send(message)
        except LinkClosed:
            pass
        except ProtocolError as error:
            _log.warning("message not sent", who=self.actor.subject, error=str(error))

    def hear(self, news: ActionReport | RequestOpened | RequestClosed, actor: Actor) -> None:
        """What ``actor`` does: for those who may see the desk. Requests: for those who may decide them."""
        if isinstance(news, ActionReport):
            if actor == self.actor or self._may_view():
                self.send(news)
        elif self.approver:
            self.send(news)

    def leave(self, code: str, reason: str) -> None:
        """Say Bye and end the link; idempotent."""
        if not self._link.closed:
            self.send(Bye(code=code, reason=reason))
            self._link.close(code, reason)

    def _welcome(self) -> None:
        self._link.admit()
        width, height = self._capture.size
        policy = self._runner.policy
        self.send(
            Welcome(
                desk=self._desk,
                width=width,
                height=height,
                subject=self.actor.subject,
                role=self.actor.role,
                effects=policy.effects(self.actor.role, self.actor.subject),
                may_decide=self.approver,
                warning=f"the policy cannot be used: {policy.problem}" if policy.problem else "",
                instance=self._instance,
            )
        )
        if self.approver:
            for request in self._runner.pending():
                self.send(request)

    # -- what the operator says -----------------------------------------------------------------------------

    def _take(self, message: ToAgent) -> None:
        # Acts first: nothing stands between a key press and the desk.
        match message:
            case Act(id=id, action=action):
                self._runner.submit(self, id, action)
            case Ping(sent=sent):
                self.send(Pong(sent=sent, agent_time=time.monotonic()))
            case SetViewport(viewport=viewport):
                self._viewport = viewport
                if self._stream is not None:
                    self._stream.set_viewport(viewport)
            case Decide():
                self._decide(message)
            case Cancel(id=id):
                self._runner.cancel(self, id)
            case Offer(sdp=sdp):
                if self._answering is not None:
                    self._answering.cancel()
                self._answering = asyncio.create_task(self._answer(sdp, self._answering), name="answer")
            case Hello():
                raise ProtocolError("malformed", "hello was said twice")

    def _decide(self, decision: Decide) -> None:
        try:
            self._runner.decide(self, decision)
        except Refused as error:
            # Whoever decides is told of every end anyway, and of what is really asked here.
            _log.warning("decision refused", who=self.actor.subject, reason=str(error))
            if self.approver:
                for request in self._runner.pending():
                    if request.request == decision.request:
                        self.send(request)

    # -- the picture ----------------------------------------------------------------------------------------

    def _may_view(self) -> bool:
        return self._runner.policy.judge(self.actor.role, self.actor.subject, Permission.VIEW).effect is Effect.ALLOW

    async def _answer(self, offer: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        decision = self._runner.policy.judge(self.actor.role, self.actor.subject, Permission.VIEW)
        if decision.effect is not Effect.ALLOW:
            self.send(Answer(problem=f"viewing is denied: {decision.why}"))
            return
        try:
            if self._stream is None:
                self._stream = self._stream_factory(self.send)
                self._capture.watch(self._stream.changed)
            if self._viewport is not None:
                self._stream.set_viewport(self._viewport)
            self.send(Answer(sdp=await self._stream.answer(offer)))
        except NexusError as error:
            self.send(Answer(problem=str(error)))

    async def _end_stream(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.wait({self._answering})
        if self._stream is not None:
            self._capture.unwatch(self._stream.changed)
            await self._stream.close()
