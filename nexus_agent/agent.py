"""The agent: one desk, its connection to the relay, and the sessions of everyone who is on it.

What a session says is in `session`, what may be done in `permissions`, how in `actions`. Starting up from a command
line, and what is printed, is `cli`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import structlog

from nexus_agent.actions.ledger import Actor, Origin
from nexus_agent.actions.runner import Runner
from nexus_agent.capture.grabber import Grabber
from nexus_agent.desks import Desk
from nexus_agent.permissions.policy import Policy
from nexus_protocol.dialer import ConnectionState, RelayClient, Status
from nexus_protocol.errors import NexusError, UsageError
from nexus_protocol.link import Link
from nexus_protocol.messages import (
    ActionReport,
    Bye,
    DeskLost,
    DeskResized,
    FromAgent,
    RequestClosed,
    RequestOpened,
    Result,
    StreamClock,
    ToAgent,
    from_agent,
    to_agent,
)

from .session import AgentLink, LiveStream, Session, StreamFactory

MAX_SESSIONS = 64
CLOSE_TIMEOUT = 2.0
"""Seconds that saying goodbye may take: a peer that does not read must not keep a desk from shutting down."""

_log = structlog.get_logger()


class Agent:
    """Serves an open desk until cancelled; closing the desk stays with whoever opened it.

    ``on_status`` is told of the connection's state. With ``name`` given, a token for another desk is refused.
    """

    def __init__(
        self,
        desk: Desk,
        policy: Policy,
        *,
        name: str | None = None,
        on_status: Callable[[Status], None] = lambda status: None,
        stream_factory: StreamFactory | None = None,
    ) -> None:
        self.desk = desk
        self.name = name or ""
        self.instance = secrets.token_hex(8)
        self._wanted_name = name
        self._on_status = on_status
        self._grabber = Grabber()
        self._stream_factory = stream_factory or self._new_stream
        self._sessions: dict[Session, asyncio.Task[None]] = {}
        self._client: RelayClient[ToAgent, FromAgent] | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.runner = Runner(desk, self._grabber, policy, self)
        desk.capture.on_resize = self._resized
        desk.capture.on_lost = self._lost

    async def run(self, url: str, token: str) -> None:
        """Serve until cancelled. Dials for ever; raises Unauthorized when the relay refuses, DeskLost, UsageError."""
        client = self._client = RelayClient(url, token, self, incoming=to_agent, outgoing=from_agent)
        serving = asyncio.create_task(client.serve(redial=True), name="relay-connection")
        try:
            await asyncio.wait({serving, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                self._over.result()
            serving.result()
        finally:
            await self.close()
            await self._hang_up(client, serving)

    async def close(self) -> None:
        """Nothing stays pressed, everyone is told, every session ends. Idempotent."""
        self.desk.capture.on_lost = self.desk.capture.on_resize = None
        if not self._over.cancel() and not self._over.cancelled():
            self._over.exception()  # seen, if it is not what ended this
        await self.runner.close()
        for session in tuple(self._sessions):
            session.leave("shutdown", "the agent is shutting down")
        await asyncio.gather(*self._sessions.values(), return_exceptions=True)
        self._grabber.close()

    async def _hang_up(self, client: RelayClient[ToAgent, FromAgent], serving: asyncio.Task[None]) -> None:
        """End the connection, with what was still to be said said."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await client.close()
        except TimeoutError:
            _log.warning("the relay did not take the goodbye in time")
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    # -- the connection (nexus_protocol.dialer.Listener) ----------------------------------------------------

    def on_status(self, status: Status) -> None:
        if status.state is ConnectionState.CONNECTED and self._client is not None:
            self.name = self._client.subject
            if self._wanted_name not in (None, self.name):
                self._finish(UsageError(f"the token is for desk {self.name!r}, not {self._wanted_name!r}"))
                return
        self._on_status(status)

    def on_presence(self, desks: tuple[str, ...]) -> None:
        """Other desks are no business of an agent."""

    def on_link(self, link: Link[Any, Any]) -> None:
        self.serve(link)

    def serve(self, link: AgentLink) -> None:
        """Start the session of a new link."""
        if self._over.done():
            link.send(Bye(code="shutdown", reason="the agent is shutting down"))
            link.close("shutdown", "the agent is shutting down")
            return
        if len(self._sessions) >= MAX_SESSIONS:
            link.send(Bye(code="forbidden", reason=f"{MAX_SESSIONS} operators are on this desk already"))
            link.close("forbidden", "too many sessions")
            return
        session = Session(
            link,
            desk=self.name,
            instance=self.instance,
            capture=self.desk.capture,
            runner=self.runner,
            stream_factory=self._stream_factory,
        )
        task = asyncio.create_task(session.run(), name=f"session-{link.peer}")
        self._sessions[session] = task
        task.add_done_callback(lambda task: self._ended(session, task))

    def _ended(self, session: Session, task: asyncio.Task[None]) -> None:
        del self._sessions[session]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("session failed", who=session.actor.subject, exc_info=error)

    # -- news (nexus_agent.actions.runner.Audience) ---------------------------------------------------------

    def tell(self, news: ActionReport | RequestOpened | RequestClosed, actor: Actor) -> None:
        for session in self._sessions:
            session.hear(news, actor)

    def deliver(self, result: Result, origin: Origin) -> None:
        if not origin.gone and isinstance(origin, Session):
            origin.send(result)
            return
        for session in self._sessions:
            if session.actor == origin.actor and session.greeted:
                session.send(result)

    def present(self, actor: Actor) -> bool:
        return any(session.actor == actor and not session.gone for session in self._sessions)

    # -- the desk -------------------------------------------------------------------------------------------

    def _new_stream(self, on_clock: Callable[[StreamClock], None]) -> LiveStream:
        from nexus_agent.stream.stream import Stream  # aiortc takes half a second to import

        return Stream(self.desk.capture, self._grabber, on_clock)

    def _resized(self, width: int, height: int) -> None:
        self._tell_all(DeskResized(width=width, height=height))

    def _lost(self, error: NexusError) -> None:
        self._tell_all(DeskLost(reason=str(error)))
        self._finish(error)

    def _tell_all(self, message: DeskResized | DeskLost) -> None:
        for session in self._sessions:
            if session.greeted:
                session.send(message)

    def _finish(self, error: NexusError) -> None:
        if not self._over.done():
            self._over.set_exception(error)
