"""What the relay's tests share: a running relay, and clients that dial it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from websockets.asyncio.client import ClientConnection, connect

from nexus_protocol.relay_messages import PATH, VERSION_HEADER, FromRelay, Open, Opened, from_relay, to_relay
from nexus_protocol.vocabulary import VERSION, Role
from relay import tokens
from relay.server import RelayServer

DEADLINE = 10.0
T = TypeVar("T")


class Listening(Protocol):
    """A relay in this process or in another."""

    @property
    def addresses(self) -> list[str]: ...


class Client:
    """A peer as the relay sees it, driven by a test."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._refs = itertools.count(1)

    async def receive(self) -> str | bytes:
        return await asyncio.wait_for(self.socket.recv(), DEADLINE)

    async def message(self) -> FromRelay:
        frame = await self.receive()
        assert isinstance(frame, str)
        return from_relay.decode(frame.encode())

    async def expect(self, kind: type[T]) -> T:
        message = await self.message()
        assert isinstance(message, kind), message
        return message

    async def say(self, message: object) -> None:
        await self.socket.send(to_relay.encode(message).decode())  # type: ignore[arg-type]

    async def open(self, desk: str) -> int:
        await self.say(Open(next(self._refs), desk))
        return (await self.expect(Opened)).link

    async def closed(self) -> tuple[int | None, str | None]:
        """Waits for the relay to close this socket; the code and the reason it gave."""
        await asyncio.wait_for(self.socket.wait_closed(), DEADLINE)
        return self.socket.close_code, self.socket.close_reason


Dial = Callable[..., Awaitable[Client]]


@pytest.fixture
def key(tmp_path: Path) -> bytes:
    tokens.make_key(tmp_path)
    return tokens.load_key(tmp_path)


@pytest.fixture
async def relay(key: bytes) -> AsyncIterator[RelayServer]:
    async with RelayServer(key, "127.0.0.1", 0, stall_timeout=1.0) as server:
        yield server


@pytest.fixture
async def dial(key: bytes) -> AsyncIterator[Dial]:
    """``await dial(relay, Role.AGENT, "office")``: a client that is connected; its Welcome is still to be read."""
    sockets: list[ClientConnection] = []

    async def dial(
        server: Listening, role: Role, *desks: str, subject: str | None = None, token: str | None = None
    ) -> Client:
        token = token or tokens.mint(key, role, subject or f"an-{role}", desks or ("*",))
        socket = await connect(
            server.addresses[0] + PATH,
            additional_headers={"Authorization": f"Bearer {token}", VERSION_HEADER: str(VERSION)},
            compression=None,
            proxy=None,
            close_timeout=1,
            max_queue=4,
        )
        sockets.append(socket)
        return Client(socket)

    yield dial
    for socket in sockets:
        socket.transport.abort()
        await asyncio.wait_for(socket.wait_closed(), DEADLINE)
