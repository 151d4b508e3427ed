"""The console's side of one desk: stays connected, keeps the picture coming, sends actions, hears reports.

What it learns it tells to one observer, in the event loop; it decides nothing and never blocks. States:

    REACHING ──Welcome──> LIVE ──link lost──> REACHING ──refused for good──> ENDED
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from nexus_protocol.actions import Action, Move, Press, Release
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
    Hello,
    Offer,
    Ping,
    Pong,
    RequestClosed,
    RequestOpened,
    Result,
    SetViewport,
    StreamClock,
    ToAgent,
    Viewport,
    Welcome,
    from_agent,
    to_agent,
)
from nexus_protocol.vocabulary import ActionState

from .clock import PictureClock
from .observer import Observer, SessionState, Silence

if TYPE_CHECKING:
    from .stream import StreamReceiver

PING_INTERVAL = 2.0
STREAM_RETRY = 2.0
WELCOME_TIMEOUT = 10.0
MAX_PENDING = 256


class Session:
    """One operator, at one desk at a time.

    ``async with session.dialled():``, then :meth:`open` a desk, then :meth:`start`; the first two may raise. From
    then on the session mends itself. Without ``watch`` there is no picture, for scripts.
    """

    def __init__(self, url: str, token: str, *, watch: bool = True) -> None:
        self.observer: Observer = Silence()
        self.desk = ""
        self.welcome: Welcome | None = None
        self.clock = PictureClock()
        self._watch = watch
        self._relay: RelayClient[FromAgent, ToAgent] = RelayClient(
            url, token, self, incoming=from_agent, outgoing=to_agent
        )
        self._link: Link[FromAgent, ToAgent] | None = None
        self._stream: StreamReceiver | None = None
        self._viewport: Viewport | None = None
        self._pixels: tuple[int, int] | None = None
        self._pending: OrderedDict[str, Act] = OrderedDict()
        self._results: dict[str, asyncio.Future[Result]] = {}
        self._moving = ""
        self._next_move: Move | None = None
        self._connected = asyncio.Event()
        self._present = asyncio.Event()
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
        """Go to a desk, leaving the one before. Raises Unreachable, Unauthorized or ProtocolError."""
        await self._leave()
        self.desk = desk
        self.on_presence(self._relay.desks)
        self._link = await self._reach()

    def start(self) -> None:
        """Serve the open link from now on: nothing that the agent says is taken before."""
        if self._link is not None:
            self._task = asyncio.create_task(self._serve(self._link), name="session")

    async def _leave(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._link is not None:
            link, self._link = self._link, None
            link.close(reason="the console has left")
        self._abandon("the console has left this desk")

    def act(self, action: Action) -> str:
        """Ask for an action; its end comes as Result, its life as ActionReport. Raises Unreachable when offline.

        Pointer moves are merged: one is under way at a time, and then the newest goes.
        """
        if self._link is None:
            raise Unreachable(f"not connected to {self.desk}: nothing was sent")
        if len(self._pending) >= MAX_PENDING:
            raise Unreachable(f"{self.desk} has not answered {MAX_PENDING} actions: nothing more is sent")
        if isinstance(action, Move) and self._moving:
            self._next_move = action
            return self._moving
        act = Act(id=uuid.uuid4().hex, action=action)
        self._link.send(act)
        self._pending[act.id] = act
        if isinstance(action, Move):
            self._moving = act.id
        return act.id

    async def perform(self, action: Action) -> Result:
        """Act, and wait for the end. Raises LinkClosed when the session ends before the action does."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        number = self.act(action)
        self._results[number] = future
        try:
            return await future
        finally:
            del self._results[number]

    def cancel(self, action_id: str) -> None:
        if self._link is not None:
            self._link.send(Cancel(id=action_id))

    def decide(self, request: RequestOpened, approve: bool, reason: str = "") -> None:
        """Decide exactly what was shown."""
        if self._link is not None:
            digest = request.payload_hash
            self._link.send(Decide(request=request.request, payload_hash=digest, approve=approve, reason=reason))

    def look(self, viewport: Viewport, pixels: tuple[int, int]) -> None:
        """What to stream, and the size in pixels the pictures are wanted in."""
        self._viewport, self._pixels = viewport, pixels
        if self._stream is not None:
            self._stream.set_size(*pixels)
        if self._link is not None:
            self._link.send(SetViewport(viewport=viewport))

    @property
    def desks(self) -> tuple[str, ...]:
        return self._relay.desks

    @property
    def transport(self) -> str:
        return self._stream.transport if self._stream is not None else "-"

    # -- RelayClient's listener -----------------------------------------------------------------------------

    def on_status(self, status: Status) -> None:
        if status.state is ConnectionState.CONNECTED:
            self._connected.set()
            return
        self._connected.clear()
        if status.state is ConnectionState.WAITING:
            detail = f"{status.detail}; trying again in {status.delay:.1f} s"
            self.observer.on_state(SessionState.REACHING, detail)
        elif status.state is ConnectionState.CLOSED:
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

    async def _reach(self) -> Link[FromAgent, ToAgent]:
        """A link that has been welcomed. Raises Unreachable, Unauthorized or ProtocolError."""
        self.observer.on_state(SessionState.REACHING, f"opening {self.desk}")
        link = await self._relay.open(self.desk)
        link.send(Hello())
        try:
            async with asyncio.timeout(WELCOME_TIMEOUT):
                first = await link.receive()
        except TimeoutError:
            link.close(reason="no welcome")
            raise Unreachable(f"{self.desk} did not answer within {WELCOME_TIMEOUT:.0f} s") from None
        if isinstance(first, Bye):
            kind = Unreachable if first.code == "shutdown" else Unauthorized  # an agent that goes may come back
            raise kind(f"{self.desk} refuses this console: {first.reason}")
        if not isinstance(first, Welcome):
            link.close(reason="spoke before its welcome")
            raise ProtocolError("malformed", f"{self.desk} spoke before its welcome")
        self.welcome = first
        self.observer.on_welcome(first)
        self.observer.on_state(SessionState.LIVE, "")
        return link

    async def _serve(self, link: Link[FromAgent, ToAgent]) -> None:
        attempts = delays()
        while True:
            try:
                why = await self._converse(link)
                attempts = delays()
                link = await self._reopen(why, attempts)
            except Unauthorized as error:
                self._end(str(error))
                return

    async def _reopen(self, why: str, attempts: Iterator[float]) -> Link[FromAgent, ToAgent]:
        while True:
            self.observer.on_state(SessionState.REACHING, why)
            await self._connected.wait()
            if not self._present.is_set():
                self.observer.on_state(SessionState.REACHING, f"{self.desk} is not there; waiting for it")
                await self._present.wait()
            try:
                return await self._reach()
            except Unauthorized:
                raise
            except NexusError as error:
                why = str(error)
                await asyncio.sleep(next(attempts))

    async def _converse(self, link: Link[FromAgent, ToAgent]) -> str:
        """Serve one link until it ends; returns why it did."""
        self._link = link
        tasks = [asyncio.create_task(self._ping(link), name="pinger")]
        if self._watch:
            tasks.append(asyncio.create_task(self._keep_streaming(link), name="stream"))
        try:
            for act in self._pending.values():
                link.send(act)  # the agent runs an id at most once, and repeats its result
            while True:
                message = await link.receive()
                if isinstance(message, Bye):
                    return message.reason
                await self._take(message)
        except ProtocolError as error:
            link.close(error.code, str(error))
            return str(error)
        finally:
            if self._link is link and link.closed:
                self._link = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._forget_pointer()

    def _forget_pointer(self) -> None:
        """A held button or a movement means nothing on the next link; the agent has let go of it."""
        self._moving, self._next_move = "", None
        for act in list(self._pending.values()):
            if isinstance(act.action, Move | Press | Release):
                self._on_result(Result(id=act.id, state=ActionState.CANCELLED, message="the link was lost"))

    async def _keep_streaming(self, link: Link[FromAgent, ToAgent]) -> None:
        """Offer a stream, and another one whenever its path breaks while the link still stands."""
        from .stream import StreamReceiver  # aiortc takes longer to load than a script's action to be done

        if self._viewport is not None:
            link.send(SetViewport(viewport=self._viewport))
        while True:
            failed = asyncio.Event()
            stream = StreamReceiver(self.observer.on_picture, failed.set)
            if self._pixels is not None:
                stream.set_size(*self._pixels)
            self._stream = stream
            try:
                link.send(Offer(sdp=await stream.offer()))
                await failed.wait()
            except LinkClosed:
                return
            finally:
                self._stream = None
                await stream.close()
            self.observer.on_stream_problem("no UDP path to the desk for its picture; trying again")
            await asyncio.sleep(STREAM_RETRY)

    async def _ping(self, link: Link[FromAgent, ToAgent]) -> None:
        with contextlib.suppress(LinkClosed):
            while True:
                link.send(Ping(sent=time.monotonic()))
                await asyncio.sleep(PING_INTERVAL)

    async def _take(self, message: FromAgent) -> None:
        match message:
            case Pong():
                self.clock.pong(message, time.monotonic())
            case Answer(problem=problem) if problem:
                self.observer.on_stream_problem(problem)
            case Answer(sdp=sdp):
                await self._accept(sdp)
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

    async def _accept(self, sdp: str) -> None:
        if self._stream is None:
            return
        try:
            await self._stream.accept(sdp)
        except NexusError as error:
            self.observer.on_stream_problem(str(error))

    def _on_result(self, result: Result) -> None:
        self._pending.pop(result.id, None)
        if result.id == self._moving:
            move, self._moving, self._next_move = self._next_move, "", None
            if move is not None:
                self.act(move)
        if (future := self._results.get(result.id)) is not None and not future.done():
            future.set_result(result)
        self.observer.on_result(result)

    def _end(self, reason: str) -> None:
        self._abandon(reason)
        self.observer.on_state(SessionState.ENDED, reason)

    def _abandon(self, reason: str) -> None:
        """Nothing that is under way will be heard of again: say so to everyone who waits."""
        for number in list(self._pending):
            del self._pending[number]
            self.observer.on_result(Result(id=number, state=ActionState.CANCELLED, message=reason))
        for future in self._results.values():
            if not future.done():
                future.set_exception(Unreachable(reason))
