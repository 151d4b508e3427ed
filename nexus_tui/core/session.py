"""The console's side of one desk: stays connected, keeps the picture coming, sends actions, hears reports.

What it learns it tells to one observer, in the event loop; it decides nothing and never blocks. States:

    REACHING ──Welcome──> LIVE ──link lost──> REACHING ──refused for good──> ENDED
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from nexus_protocol.actions import Action, payload_hash, validated
from nexus_protocol.dialer import ConnectionState, RelayClient, Status, delays, dial
from nexus_protocol.errors import LinkClosed, NexusError, ProtocolError, Unauthorized, Unreachable
from nexus_protocol.link import Link
from nexus_protocol.messages import (
    Act,
    ActionReport,
    Answer,
    Bye,
    Cancel,
    Decide,
    DeskLost,
    DeskResized,
    FromAgent,
    Ping,
    Pong,
    RequestClosed,
    RequestOpened,
    Result,
    StreamClock,
    ToAgent,
    Viewport,
    Welcome,
    from_agent,
    to_agent,
)
from nexus_protocol.vocabulary import ActionState

from .clock import PictureClock
from .greeting import FINAL, greet
from .known_desks import UnknownDesk
from .membership import Membership
from .observer import Observer, SessionState, Silence
from .pending import Pending
from .streaming import Streaming

PING_INTERVAL = 2.0
SILENCE = 8.0
"""Seconds without a word, though it was asked every PING_INTERVAL, after which the agent counts as gone."""


class Session:
    """One operator, at one desk at a time.

    ``async with session.dialled():``, then :meth:`open` a desk, then :meth:`start`; the first two may raise. From
    then on the session mends itself. Without ``watch`` there is no picture, for scripts.
    """

    def __init__(self, membership: Membership, *, watch: bool = True) -> None:
        self.observer: Observer = Silence()
        self.desk = ""
        self.welcome: Welcome | None = None
        self.clock = PictureClock()
        self._me = membership
        self._watch = watch
        self._relay: RelayClient[FromAgent, ToAgent] = RelayClient(
            membership.url, membership.token, membership.identity, self, incoming=from_agent, outgoing=to_agent
        )
        self._link: Link[FromAgent, ToAgent] | None = None
        self._streaming = Streaming(lambda: self.observer)
        self._pending = Pending(self._tell_result)
        self._heard = 0.0
        self._connected = asyncio.Event()
        self._present = asyncio.Event()
        self._closed = ""  # why there will be no connection to the relay any more, once that is so
        self._task: asyncio.Task[None] | None = None

    # -- for the program ------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def dialled(self) -> AsyncIterator[Session]:
        """Connected to the relay for the length of the block. Raises Unreachable or Unauthorized."""
        async with dial(self._relay, redial=True):
            try:
                yield self
            finally:
                await self._leave()

    async def open(self, desk: str) -> None:
        """Go to a desk, leaving the one before. Raises Unreachable, Unauthorized or ProtocolError.

        Unauthorized may be an UnknownDesk: see :meth:`trust`.
        """
        await self._leave()
        self.desk = desk
        self.on_presence(self._relay.desks)
        self._link = await self._reach()

    def start(self) -> None:
        """Serve the open link from now on: nothing that the agent says is taken before."""
        self._task = asyncio.create_task(self._serve(self._link), name="session")

    async def switch(self, desk: str) -> None:
        """Leave this desk for another; the session reaches it as soon as that can be done."""
        await self._leave()
        self.desk, self.welcome = desk, None
        self.on_presence(self._relay.desks)
        self.start()

    def trust(self, unknown: UnknownDesk, by: str) -> None:
        """A person has said that this is the desk's key. Raises NexusError when that cannot be kept."""
        self._me.known.pin(unknown.desk, unknown.fingerprint, by)

    async def _leave(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._link is not None:
            link, self._link = self._link, None
            link.close(reason="the console has left")
        self._pending.abandon(Unreachable("the console has left this desk"))

    def act(self, action: Action) -> str:
        """Ask for an action and return its id; its end comes as Result, its life as ActionReport.

        Pointer moves are merged: one is under way at a time, and then the newest goes; a merged one has no id.
        Raises UsageError for what no desk can do, Unreachable when offline.
        """
        act = self._act(action)
        return act.id if act is not None else ""

    async def perform(self, action: Action) -> Result:
        """Act, and wait for the end. Raises as `act` does, and NexusError when the end will not be heard of."""
        act = self._act(action)
        assert act is not None, "moves are not waited for"
        try:
            return await self._pending.end_of(act)
        except asyncio.CancelledError:
            self.cancel(act.id)
            raise

    def _act(self, action: Action) -> Act | None:
        action = validated(action)
        if not self._live:
            raise Unreachable(f"not connected to {self.desk}: nothing was sent")
        if (act := self._pending.begin(action)) is not None:
            self._send(act)
        return act

    def cancel(self, action_id: str) -> None:
        """Withdraw what waits, stop what runs; without a link, never ask for it again."""
        self._pending.withdraw(action_id)
        if self._live:
            self._send(Cancel(id=action_id))
        else:
            self._pending.unlinked()

    def cancel_all(self) -> int:
        """Do that to all of one's own that has not ended; how many that were."""
        acts = tuple(self._pending)
        for act in acts:
            self.cancel(act.id)
        return len(acts)

    def decide(self, request: RequestOpened, approve: bool, reason: str = "") -> None:
        """Decide exactly what was shown."""
        digest = payload_hash(request.action)  # of what was shown, whatever the agent says it is
        self._send(Decide(request=request.request, payload_hash=digest, approve=approve, reason=reason))

    def look(self, viewport: Viewport, pixels: tuple[int, int]) -> None:
        """What to stream, and the size in pixels the pictures are wanted in."""
        self._send(self._streaming.look(viewport, pixels))

    def _send(self, message: ToAgent) -> None:
        """To the agent, if there is a link: what still matters on the next one is said again there."""
        if self._link is not None:
            with contextlib.suppress(LinkClosed):
                self._link.send(message)

    @property
    def _live(self) -> bool:
        return self._link is not None and not self._link.closed

    @property
    def desks(self) -> tuple[str, ...]:
        return self._relay.desks

    @property
    def transport(self) -> str:
        return self._streaming.transport

    # -- RelayClient's listener -----------------------------------------------------------------------------

    def on_status(self, status: Status) -> None:
        if status.state is ConnectionState.CONNECTED:
            self._connected.set()
            return
        self._connected.clear()
        if status.state is ConnectionState.WAITING:
            detail = f"trying again in {status.delay:.1f} s: {status.detail}"
            self.observer.on_state(SessionState.REACHING, detail)
        elif status.state is ConnectionState.CLOSED:
            self._closed = status.detail
            if self._task is not None:
                self._task.cancel()  # there is nothing left to reach the desk with
            self._end(status.detail)
        else:
            self.observer.on_state(SessionState.REACHING, "dialling the relay")

    def on_presence(self, desks: tuple[str, ...]) -> None:
        if self.desk in desks:
            self._present.set()
        else:
            self._present.clear()
        self.observer.on_desks(desks)

    def on_link(self, link: Link[Any, Any]) -> None:
        link.close(reason="a console serves no desk")

    # -- the link's life ------------------------------------------------------------------------------------

    async def _reach(self, why: str = "") -> Link[FromAgent, ToAgent]:
        """A link that has been welcomed. Raises Unreachable, Unauthorized or ProtocolError."""
        self.observer.on_state(
            SessionState.REACHING, f"{why}; opening {self.desk} again" if why else f"opening {self.desk}"
        )
        self._check_relay()
        link = await self._relay.open(self.desk)
        try:
            first = await greet(link, self.desk, self._me, self.observer)
        except BaseException:
            link.close(reason="not welcomed")
            raise
        if self.welcome is not None and first.instance != self.welcome.instance:
            doubt = "the agent was started anew; whether this was done is not known"
            self._pending.abandon(Unreachable(doubt), ActionState.FAILED)
        self.welcome = first
        self.observer.on_welcome(first)
        self.observer.on_state(SessionState.LIVE, "")
        return link

    async def _serve(self, link: Link[FromAgent, ToAgent] | None) -> None:
        why = f"going to {self.desk}"
        while True:
            try:
                if link is not None:
                    why = await self._converse(link)
                link = await self._reopen(why, delays())
            except Unauthorized as error:
                self._end(str(error))
                if isinstance(error, UnknownDesk):
                    self.observer.on_unknown_desk(error)
                return

    async def _reopen(self, why: str, attempts: Iterator[float]) -> Link[FromAgent, ToAgent]:
        while True:
            self.observer.on_state(SessionState.REACHING, why)
            self._check_relay()
            await self._connected.wait()
            if not self._present.is_set():
                self.observer.on_state(SessionState.REACHING, f"{self.desk} is not there; waiting for it")
                await self._present.wait()
            try:
                return await self._reach(why)
            except Unauthorized:
                raise
            except NexusError as error:
                why = str(error)
                await asyncio.sleep(next(attempts))

    def _check_relay(self) -> None:
        """Raises Unauthorized, with the relay's words, once it can never be reached again."""
        if self._closed:
            raise Unauthorized(self._closed)

    async def _converse(self, link: Link[FromAgent, ToAgent]) -> str:
        """Serve one link until it ends; returns why it did."""
        self._link, self._heard = link, time.monotonic()
        tasks = [asyncio.create_task(self._ping(link), name="pinger")]
        if self._watch:
            tasks.append(asyncio.create_task(self._streaming.keep(link), name="stream"))
        try:
            for unsettled in self._pending.to_repeat():
                link.send(unsettled)
            while True:
                message = await link.receive()
                self._heard = time.monotonic()
                if isinstance(message, Bye):
                    if message.code in FINAL:
                        raise Unauthorized(f"{self.desk} has ended this session: {message.reason}")
                    if message.code == "protocol":  # something of ours was at fault, and would be again
                        self._pending.abandon(Unreachable(f"{self.desk} cannot take this: {message.reason}"))
                    return message.reason
                await self._take(message)
        except ProtocolError as error:
            link.close(error.code, str(error))
            return str(error)
        finally:
            self._link = None
            link.close(reason="the console has left")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._pending.unlinked()

    async def _ping(self, link: Link[FromAgent, ToAgent]) -> None:
        with contextlib.suppress(LinkClosed):
            while True:
                link.send(Ping(sent=time.monotonic()))
                await asyncio.sleep(PING_INTERVAL)
                if time.monotonic() - self._heard > SILENCE:
                    link.close("silent", f"{self.desk} has not answered for {SILENCE:.0f} s")

    async def _take(self, message: FromAgent) -> None:
        match message:
            case Pong():
                self.clock.pong(message, time.monotonic())
            case Answer():
                await self._streaming.answered(message)
            case StreamClock():
                self.clock.stream(message)
            case DeskResized(width=width, height=height):
                self.observer.on_desk_resized(width, height)
            case DeskLost(reason=reason):
                self.observer.on_stream_problem(reason)
            case ActionReport():
                self.observer.on_report(message)
            case Result():
                self._on_result(message)
            case RequestOpened():
                self.observer.on_request(message)
            case RequestClosed():
                self.observer.on_request_closed(message)
            case Welcome():
                raise ProtocolError("malformed", f"{self.desk} said welcome twice")

    def _on_result(self, result: Result) -> None:
        if (move := self._pending.ended(result)) is not None:
            self.act(move)

    def _tell_result(self, result: Result) -> None:
        self.observer.on_result(result)

    def _end(self, reason: str) -> None:
        self._pending.abandon(Unreachable(reason))
        self.observer.on_state(SessionState.ENDED, reason)
