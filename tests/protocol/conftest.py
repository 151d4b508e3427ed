"""A relay and the far end of a link, which a test plays, and a listener that keeps what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import http
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from nexus_protocol.dialer import ConnectionState, RelayClient, Status, dial
from nexus_protocol.errors import LinkClosed, ProtocolError
from nexus_protocol.identity import Identity
from nexus_protocol.lanes import Lane, Lanes
from nexus_protocol.link import MAX_CONTROL, Link
from nexus_protocol.messages import MAX_MESSAGE, FromAgent, ToAgent, from_agent, to_agent
from nexus_protocol.relay_messages import (
    CloseCode,
    FromRelay,
    Incoming,
    ToRelay,
    Welcome,
    from_relay,
    pack_frame,
    to_relay,
    unpack_frame,
)
from nexus_protocol.settings import RelayToken
from nexus_protocol.tunnel import Tunnel
from nexus_protocol.vocabulary import Role

DEADLINE = 5.0
KEY = Identity.new()
AgentLink = Link[ToAgent, FromAgent]


class Peer:
    """The relay's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.ends: dict[int, FarEnd] = {}

    async def say(self, message: FromRelay) -> None:
        await self.socket.send(from_relay.encode(message).decode())

    async def frame(self) -> str | bytes:
        return await asyncio.wait_for(self.socket.recv(), DEADLINE)

    async def hear(self) -> ToRelay:
        """The next message; what links carry meanwhile goes to their far ends, if they can read it."""
        while isinstance(frame := await self.frame(), bytes):
            number, payload = unpack_frame(frame)
            if (end := self.ends.get(number)) is not None:
                with contextlib.suppress(ProtocolError):
                    end.take(payload)
        return to_relay.decode(frame.encode())

    async def carry(self) -> tuple[int, bytes]:
        """The next frame, which has to be a link's, goes to its far end: its number, and what it unseals to."""
        frame = await self.frame()
        assert isinstance(frame, bytes)
        number, payload = unpack_frame(frame)
        return number, self.ends[number].take(payload)

    async def closed(self) -> tuple[int | None, str | None]:
        await asyncio.wait_for(self.socket.wait_closed(), DEADLINE)
        return self.socket.close_code, self.socket.close_reason


class FarEnd:
    """The program at the other end of a link, played through the relay's socket."""

    def __init__(self, peer: Peer, number: int, *, opens: bool) -> None:
        self.key = Identity.new()
        self.number = number
        self.tunnel = Tunnel(self.key, opens=opens)
        self._lanes = Lanes(max_control=MAX_CONTROL, max_bulk=MAX_MESSAGE, max_queued=MAX_MESSAGE)
        self._heard: deque[bytes] = deque()
        self._peer = peer
        peer.ends[number] = self

    async def secure(self) -> None:
        """Shake hands."""
        while True:
            while (payload := self.tunnel.outgoing()) is not None:
                await self.send(payload)
            if self.tunnel.peer is not None:
                return
            await self._peer.carry()

    async def say(self, message: bytes) -> None:
        self._lanes.send(Lane.CONTROL, message)
        while (fragment := self._lanes.next_fragment()) is not None:
            await self.send_sealed(fragment)

    async def send_sealed(self, plain: bytes) -> None:
        await self.send(self.tunnel.seal(plain))

    async def send(self, payload: bytes) -> None:
        await self._peer.socket.send(pack_frame(self.number, payload))

    def take(self, payload: bytes) -> bytes:
        """What a payload unseals to: fragments, or nothing when the tunnel spoke to the tunnel."""
        plain = self.tunnel.receive(payload)
        self._heard += self._lanes.receive(plain)
        return plain

    async def hear(self) -> bytes:
        """The next message."""
        while not self._heard:
            await self._peer.carry()
        return self._heard.popleft()


class Relay:
    """A WebSocket server whose part the test plays; with ``welcome`` set it says that by itself."""

    def __init__(self, port: int = 0) -> None:
        self.welcome: Welcome | None = Welcome(subject="anna", role=Role.OPERATOR, desks=("office",))
        self.answer: tuple[int, str, str] | None = None
        self.requests: list[Request] = []
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._port = port
        self._server: Server | None = None

    async def __aenter__(self) -> Relay:
        self._server = await serve(
            self._serve, "127.0.0.1", self._port, process_request=self._request, compression=None, close_timeout=1
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close(code=CloseCode.GOING_AWAY, reason="the relay is going away")
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        if self.answer is None:
            return None
        status, text, content_type = self.answer
        response = connection.respond(http.HTTPStatus(status), text)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = content_type
        return response

    async def _serve(self, socket: ServerConnection) -> None:
        peer = Peer(socket)
        if self.welcome is not None:
            await peer.say(self.welcome)
        self._peers.put_nowait(peer)
        await socket.wait_closed()

    async def peer(self) -> Peer:
        return await asyncio.wait_for(self._peers.get(), DEADLINE)


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.statuses: list[Status] = []
        self.desks: list[tuple[str, ...]] = []
        self.links: asyncio.Queue[AgentLink] = asyncio.Queue()
        self._changed = asyncio.Event()

    def on_status(self, status: Status) -> None:
        self.statuses.append(status)
        self._changed.set()

    def on_presence(self, desks: tuple[str, ...]) -> None:
        self.desks.append(desks)
        self._changed.set()

    def on_link(self, link: AgentLink) -> None:
        self.links.put_nowait(link)

    @property
    def states(self) -> list[ConnectionState]:
        return [status.state for status in self.statuses]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def link(self) -> AgentLink:
        return await asyncio.wait_for(self.links.get(), DEADLINE)


Client = RelayClient[ToAgent, FromAgent]


def at_once() -> Iterator[float]:
    return itertools.repeat(0.0)


def client_of(url: str, heard: Heard, delays: Callable[[], Iterator[float]] = at_once) -> Client:
    return RelayClient(url, RelayToken("a-token"), KEY, heard, incoming=to_agent, outgoing=from_agent, delays=delays)


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with Relay() as relay:
        yield relay


@pytest.fixture
def heard() -> Heard:
    return Heard()


@contextlib.asynccontextmanager
async def connected(relay: Relay, heard: Heard, *, redial: bool = False) -> AsyncIterator[tuple[Client, Peer]]:
    async with dial(client_of(relay.url, heard), redial=redial) as client:
        yield client, await relay.peer()


async def new_link(peer: Peer, heard: Heard, number: int = 1) -> AgentLink:
    await peer.say(Incoming(link=number, subject="anna", role=Role.OPERATOR))
    return await heard.link()


async def sealed_link(peer: Peer, heard: Heard, number: int = 1) -> tuple[AgentLink, FarEnd]:
    """A link to an agent that knows who is there, and who that is."""
    link = await new_link(peer, heard, number)
    far = FarEnd(peer, number, opens=True)
    await far.secure()
    assert await asyncio.wait_for(link.secured(), DEADLINE) == far.key.fingerprint
    link.admit()
    return link, far


async def end_of(link: Link[Any, Any]) -> LinkClosed:
    """The end of a link on which nothing is said any more."""
    with pytest.raises(LinkClosed) as error:
        await asyncio.wait_for(_sealed_and_silent(link), DEADLINE)
    return error.value


async def _sealed_and_silent(link: Link[Any, Any]) -> None:
    await link.secured()
    link.admit()
    await link.receive()
