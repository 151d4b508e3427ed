"""Dialling the relay, staying connected, and the links that run over that connection.

How the WebSocket itself is opened and closed is relay_socket's. States of the connection:

    CONNECTING ──welcome──> CONNECTED ──lost──> WAITING ──delay──> CONNECTING
         └──────────refused or replaced──────────────> CLOSED <── close()
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from .codec import Codec
from .errors import NexusError, ProtocolError, Unauthorized, Unreachable, UsageError
from .identity import Identity
from .link import Link
from .relay_messages import (
    PATH,
    Close,
    CloseCode,
    Closed,
    FromRelay,
    Incoming,
    NotOpened,
    Open,
    Opened,
    Presence,
    Renewed,
    Welcome,
    from_relay,
    pack_frame,
    to_relay,
    unpack_frame,
)
from .relay_socket import CLOSE_TIMEOUT, OPEN_TIMEOUT, end_of, leave, open_socket
from .settings import RelayToken
from .tunnel import Tunnel
from .vocabulary import VERSION, Role

In = TypeVar("In")
Out = TypeVar("Out")

MAX_LINKS = 1_024
FIRST_DELAY, LONGEST_DELAY = 0.25, 15.0


class ConnectionState(StrEnum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    CLOSED = "closed"


class Status(NamedTuple):
    """What to show: the state, why, and in how many seconds the next attempt comes (WAITING)."""

    state: ConnectionState
    detail: str = ""
    delay: float = 0.0


class Listener(Protocol):
    """What happens on the connection; called in the event loop, must not block."""

    def on_status(self, status: Status) -> None: ...
    def on_presence(self, desks: tuple[str, ...]) -> None: ...
    def on_link(self, link: Link[Any, Any]) -> None: ...


def delays(rng: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds between attempts: growing, capped, and jittered so that a restarted relay is not stampeded."""
    longest = FIRST_DELAY
    while True:
        yield longest * (0.5 + rng() / 2)
        longest = min(longest * 1.7, LONGEST_DELAY)


class RelayClient(Generic[In, Out]):
    """One program's connection to the relay. Use :func:`dial`, which owns its task.

    ``delays`` gives the seconds to wait before each attempt to dial again, afresh after every good connection.
    """

    def __init__(
        self,
        url: str,
        token: RelayToken,
        identity: Identity,
        listener: Listener,
        *,
        incoming: Codec[In],
        outgoing: Codec[Out],
        delays: Callable[[], Iterator[float]] = delays,
    ) -> None:
        self._url = url + PATH
        self._token = token
        self._identity = identity
        self._listener = listener
        self._incoming = incoming
        self._outgoing = outgoing
        self._delays = delays
        self._socket: ClientConnection | None = None
        self._links: dict[int, Link[In, Out]] = {}
        self._requests: deque[str] = deque()
        self._ready: OrderedDict[Link[In, Out], None] = OrderedDict()  # links with something to say, in turn
        self._endings: dict[int, Close] = {}  # links this side has ended, until their last bytes are out
        self._work = asyncio.Event()
        self._opening: dict[int, asyncio.Future[Link[In, Out]]] = {}
        self._next_ref = 0
        self._leaving = asyncio.Event()
        self._told_closed = False
        self.desks: tuple[str, ...] = ()
        self.subject = ""

    # -- for the program ------------------------------------------------------------------------------------

    async def open(self, desk: str) -> Link[In, Out]:
        """A link to a desk. Raises Unreachable when it is not there or not ours to reach, UsageError for no name."""
        if self._socket is None:
            raise Unreachable("not connected to the relay")
        self._next_ref += 1
        ref = self._next_ref
        request = to_relay.encode(Open(ref=ref, desk=desk))
        try:
            to_relay.decode(request)  # the relay would end the whole connection over a name that cannot be
        except ProtocolError:
            raise UsageError(f"{desk!r} is not a desk's name: letters, digits and . _ @ - only, 64 at most") from None
        future: asyncio.Future[Link[In, Out]] = asyncio.get_running_loop().create_future()
        self._opening[ref] = future
        self._requests.append(request.decode())
        self._work.set()
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                return await future
        except (TimeoutError, asyncio.CancelledError) as error:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().close(reason="nobody waits for this link any more")
            if isinstance(error, TimeoutError):
                raise Unreachable(f"the relay did not answer within {OPEN_TIMEOUT:.0f} s; try again") from None
            raise
        finally:
            del self._opening[ref]

    async def close(self) -> None:
        """Say what is queued, as far as the relay takes it within CLOSE_TIMEOUT, and leave for good."""
        self._leaving.set()
        if (socket := self._socket) is not None:
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._write_all(socket)
            await leave(socket, CloseCode.GOING_AWAY, "done")
        self._lost(reason := "this program has closed the connection")
        self._tell_closed(reason)

    # -- the connection's life ------------------------------------------------------------------------------

    async def connect(self) -> None:
        """One attempt. Raises Unauthorized when trying again is useless, else Unreachable."""
        self._listener.on_status(Status(ConnectionState.CONNECTING))
        socket = await open_socket(self._url, self._token.text)
        try:
            welcome = await self._welcome(socket)
            self._socket = socket
        finally:
            if self._socket is None:
                await leave(socket, CloseCode.PROTOCOL)
        self.subject = welcome.subject
        self.desks = welcome.desks
        self._listener.on_presence(welcome.desks)
        self._listener.on_status(Status(ConnectionState.CONNECTED))

    async def _welcome(self, socket: ClientConnection) -> Welcome:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                first = from_relay.decode(await socket.recv(decode=False))
        except ConnectionClosed:
            end = end_of(socket)
            raise type(end)(f"{self._url} hung up before it said welcome: {end}") from None
        except TimeoutError:
            raise Unreachable(f"{self._url} did not say welcome within {OPEN_TIMEOUT:.0f} s") from None
        except ProtocolError as error:
            raise Unreachable(f"{self._url} does not speak as a Nexus relay: {error}") from None
        if not isinstance(first, Welcome):
            raise Unreachable(f"{self._url} spoke before it said welcome")
        if first.version != VERSION:
            older = "the relay" if first.version < VERSION else "this program"
            raise Unauthorized(f"the relay speaks version {first.version}, this program {VERSION}; upgrade {older}")
        return first

    async def serve(self, *, redial: bool) -> None:
        """Carry links until the connection ends; then dial again, until :meth:`close`, unless ``redial`` is off.

        Raises Unauthorized when the relay refuses us, else (only without ``redial``) Unreachable.
        """
        attempts = self._delays()
        clock = asyncio.get_running_loop().time
        why = "the connection is no longer served"
        try:
            while not self._leaving.is_set():
                if self._socket is not None:
                    since = clock()
                    end = await self._carry(self._socket)
                    if clock() - since > LONGEST_DELAY:
                        attempts = self._delays()
                else:
                    try:
                        await self.connect()
                        continue
                    except Unreachable as error:
                        end = error
                if self._leaving.is_set():
                    break
                if isinstance(end, Unauthorized) or not redial:
                    why = str(end)
                    raise end
                delay = next(attempts)
                self._listener.on_status(Status(ConnectionState.WAITING, str(end), delay))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._leaving.wait()
        finally:
            if self._socket is not None:
                await leave(self._socket, CloseCode.GOING_AWAY)
                self._lost(why)
            self._tell_closed(why)

    async def _carry(self, socket: ClientConnection) -> Unreachable:
        """Read and write until the connection is over; returns why it is."""
        code, broken = CloseCode.GOING_AWAY, ""
        async with _running(self._write(socket), "relay-writer"):
            try:
                async for frame in socket:
                    self._on_frame(frame)
            except ProtocolError as error:
                code, broken = CloseCode.PROTOCOL, f"the relay sent what it may not: {error}"
            except ConnectionClosed:
                pass
            finally:
                end = Unreachable(broken) if broken else end_of(socket)
                self._lost(str(end))
                await leave(socket, code, broken)
        return end

    def _on_frame(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            self._on_message(from_relay.decode(frame.encode()))
            return
        number, payload = unpack_frame(frame)
        if (link := self._links.get(number)) is not None:
            link.fed(payload)

    def _on_message(self, message: FromRelay) -> None:
        match message:
            case Presence(desks=desks):
                self.desks = desks
                self._listener.on_presence(desks)
            case Opened(ref=ref, link=number, desk=desk):
                link = self._new_link(number, desk, Role.AGENT, opens=True)
                future = self._opening.get(ref)
                if future is None or future.done():
                    link.close(reason="nobody waits for this link any more")
                else:
                    future.set_result(link)
            case NotOpened(ref=ref, code=code, reason=reason):
                if (future := self._opening.get(ref)) is not None and not future.done():
                    future.set_exception(Unreachable(reason or code))
            case Incoming(link=number, subject=subject, role=role):
                self._listener.on_link(self._new_link(number, subject, role, opens=False))
            case Closed(link=number, code=code, reason=reason):
                self._endings.pop(number, None)
                if (gone := self._links.pop(number, None)) is not None:
                    gone.ended(code, f"the relay has ended this link: {reason or code}")
            case Renewed(token=token):
                self._token.renew(token)
            case Welcome():
                raise ProtocolError("malformed", "welcome twice")

    def _new_link(self, number: int, peer: str, role: Role, *, opens: bool) -> Link[In, Out]:
        if number in self._links:
            raise ProtocolError("malformed", f"a second link {number}")
        if len(self._links) >= MAX_LINKS:
            raise ProtocolError("too-many", f"more than {MAX_LINKS:,} links")
        link = Link(
            number, peer, role, tunnel=Tunnel(self._identity, opens=opens),
            incoming=self._incoming, outgoing=self._outgoing, wake=self._wake, hang_up=self._hang_up,
        )  # fmt: skip
        self._links[number] = link
        self._wake(link)
        return link

    def _lost(self, reason: str) -> None:
        self._socket = None
        self.desks = ()
        for link in self._links.values():
            link.ended("gone", reason)
        self._links.clear()
        self._endings.clear()
        self._ready.clear()
        self._requests.clear()
        for future in self._opening.values():
            if not future.done():
                future.set_exception(Unreachable(reason))

    def _tell_closed(self, why: str) -> None:
        if not self._told_closed:
            self._told_closed = True
            self._listener.on_status(Status(ConnectionState.CLOSED, why))

    # -- out ------------------------------------------------------------------------------------------------

    def _wake(self, link: Link[In, Out]) -> None:
        self._ready.setdefault(link)
        self._work.set()

    def _hang_up(self, link: Link[In, Out], code: str) -> None:
        self._endings[link.number] = Close(link=link.number, reason=code)
        self._wake(link)

    async def _write(self, socket: ClientConnection) -> None:
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                await self._write_all(socket)
        except ConnectionClosed:
            pass  # the reader says why
        finally:
            socket.transport.abort()  # a connection that can no longer write must not look alive

    async def _write_all(self, socket: ClientConnection) -> None:
        """One fragment of each link in turn, so that no link waits for another's file."""
        while self._requests or self._ready:
            while self._requests:
                await socket.send(self._requests.popleft())
            if self._ready:
                link, _ = self._ready.popitem(last=False)
                if (payload := link.outgoing()) is not None:
                    self._ready[link] = None
                    await socket.send(pack_frame(link.number, payload))
                elif (ending := self._endings.pop(link.number, None)) is not None:
                    self._links.pop(link.number, None)
                    await socket.send(to_relay.encode(ending).decode())


@contextlib.asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """A task for the length of the block. What it dies of is raised at the end, unless that is an end like any."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        (died,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(died, Exception) and not isinstance(died, NexusError):
        raise died


@contextlib.asynccontextmanager
async def dial(client: RelayClient[In, Out], *, redial: bool) -> AsyncIterator[RelayClient[In, Out]]:
    """Connect once, which may raise Unreachable or Unauthorized, and stay connected for the length of the block.

    What ends the connection for good later on is told to the listener as CLOSED, and to every link.
    """
    await client.connect()
    async with _running(client.serve(redial=redial), "relay-connection"):
        try:
            yield client
        finally:
            await client.close()
