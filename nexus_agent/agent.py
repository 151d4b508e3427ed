"""The agent: one desk, its connection to the relay, and the sessions of everyone who is on it.

What a session says is in `session`, what may be done in `permissions`, how in `actions`. Starting up from a command
line, and what is printed, is `cli`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from typing import Any

import structlog

from nexus_agent.actions.ledger import Actor, Origin
from nexus_agent.actions.runner import Runner
from nexus_agent.capture.grabber import Grabber
from nexus_agent.desks import Desk
from nexus_agent.permissions.operators import Operators
from nexus_agent.permissions.policy import Policy
from nexus_protocol.dialer import ConnectionState, RelayClient, Status
from nexus_protocol.errors import LinkClosed, NexusError, ProtocolError, UsageError
from nexus_protocol.identity import Identity
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
from nexus_protocol.settings import RelayToken

from .door import AgentLink, Door, Guest, Knock, Refusal
from .session import LiveStream, Session, StreamFactory

MAX_SESSIONS = 64
MAX_SESSIONS_EACH = 8
"""Sessions of one key: the second laptop and a few scripts, and not the whole desk."""
MAX_STRANGERS = 64
MAX_STRANGERS_EACH = 8
"""Links that are not admitted yet, in all and of one name. Past it the oldest of them goes, so that nobody keeps others
out by waiting."""
WATCH_INTERVAL = 0.25
"""Seconds between two looks at the list of operators: somebody whose rights are taken back is gone within one more."""
CLOSE_TIMEOUT = 2.0
"""Seconds that saying goodbye may take: a peer that does not read must not keep a desk from shutting down."""

_log = structlog.get_logger()


class Agent:
    """Serves an open desk until cancelled; closing the desk stays with whoever opened it.

    ``operators`` are who may come; with ``asks`` others may knock. ``on_status`` is told of the connection's state.
    With ``name`` given, a token for another desk is refused.
    """

    def __init__(
        self,
        desk: Desk,
        policy: Policy,
        *,
        operators: Operators,
        name: str | None = None,
        asks: bool = False,
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
        self._sessions: set[Session] = set()
        self._strangers: dict[AgentLink, None] = {}
        self._guests: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._client: RelayClient[ToAgent, FromAgent] | None = None
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.runner = Runner(desk, self._grabber, policy, self)
        self._door = Door(operators, self.runner, asks=asks)
        desk.capture.on_resize = self._resized
        desk.capture.on_lost = self._lost

    async def run(self, url: str, token: RelayToken, identity: Identity) -> None:
        """Serve until cancelled. Dials for ever; raises Unauthorized when the relay refuses, DeskLost, UsageError."""
        client = self._client = RelayClient(url, token, identity, self, incoming=to_agent, outgoing=from_agent)
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
        for guest in self._guests:
            guest.cancel()
        await asyncio.gather(*self._guests, return_exceptions=True)
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
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
        """Start the conversation on a new link."""
        if self._over.done() or len(self._sessions) >= MAX_SESSIONS:
            # Not even a handshake: whoever dials tries again, and finds another agent, or a free place.
            link.close("full" if not self._over.done() else "shutdown")
            return
        self._make_room(link.peer)
        self._strangers[link] = None
        task = asyncio.create_task(self._host(link), name=f"session-{link.peer}")
        self._guests.add(task)
        task.add_done_callback(lambda task: self._ended(task, link))
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._watch_operators(self._door.stamp()), name="operators")

    def _make_room(self, name: str) -> None:
        """Bound the strangers: of one name first, since nobody chooses the name in their token, then of all."""
        same = [link for link in self._strangers if link.peer == name]
        if len(same) >= MAX_STRANGERS_EACH or len(self._strangers) >= MAX_STRANGERS:
            oldest = same[0] if len(same) >= MAX_STRANGERS_EACH else next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.close("full")

    async def _host(self, link: AgentLink) -> None:
        """Everything about one link, from its handshake to its end."""
        try:
            guest = await self._door.admit(link)
            self._strangers.pop(link, None)
            if (refusal := self._door.recheck(guest) or self._crowded(guest)) is not None:
                raise refusal  # it may have changed while a thread wrote the list
        except Refusal as refusal:
            _log.info("not let in", who=link.peer, code=refusal.code, reason=refusal.reason)
            with contextlib.suppress(ProtocolError):
                link.send(Bye(code=refusal.code, reason=refusal.reason))
            link.close(refusal.code)
            return
        except LinkClosed as end:
            _log.info("link ended", who=link.peer, code=end.code, reason=str(end))
            return
        session = Session(
            link,
            guest,
            desk=self.name,
            instance=self.instance,
            capture=self.desk.capture,
            runner=self.runner,
            stream_factory=self._stream_factory,
        )
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    def _crowded(self, guest: Guest) -> Refusal | None:
        mine = sum(session.guest.operator.fingerprint == guest.operator.fingerprint for session in self._sessions)
        if mine >= MAX_SESSIONS_EACH:
            return Refusal("full", f"{mine} sessions of your key are on this desk already; end one")
        if len(self._sessions) >= MAX_SESSIONS:
            return Refusal("full", f"{MAX_SESSIONS} sessions are on this desk already; try again later")
        return None

    def _ended(self, task: asyncio.Task[None], link: AgentLink) -> None:
        self._guests.discard(task)
        self._strangers.pop(link, None)
        link.close()  # nobody is left waiting, whatever it was that ended
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("session failed", task=task.get_name(), exc_info=error)

    async def _watch_operators(self, seen: tuple[int, ...]) -> None:
        """Send away whom the list no longer lets in as they are; while anybody is here. ``seen``: before they came."""
        while self._guests or self.runner.busy:
            await asyncio.sleep(WATCH_INTERVAL)
            if (now := self._door.stamp()) == seen:
                continue
            seen = now
            self.runner.dismiss()
            for session in tuple(self._sessions):
                if (refusal := self._door.recheck(session.guest)) is not None:
                    session.leave(refusal.code, refusal.reason)

    # -- news (nexus_agent.actions.runner.Audience) ---------------------------------------------------------

    def tell(self, news: ActionReport | RequestOpened | RequestClosed, actor: Actor) -> None:
        for session in self._sessions:
            session.hear(news, actor)

    def deliver(self, result: Result, origin: Origin) -> None:
        if isinstance(origin, Knock):
            if not origin.answer.done():
                origin.answer.set_result(result)
            return
        if not origin.gone and isinstance(origin, Session):
            origin.send(result)
            return
        for session in self._sessions:
            if session.actor == origin.actor:
                session.send(result)

    def present(self, actor: Actor) -> bool:
        return any(session.actor == actor and not session.gone for session in self._sessions)

    def admitted(self, origin: Origin) -> bool:
        return isinstance(origin, Knock) or (isinstance(origin, Session) and self._door.recheck(origin.guest) is None)

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
            session.send(message)

    def _finish(self, error: NexusError) -> None:
        if not self._over.done():
            self._over.set_exception(error)
