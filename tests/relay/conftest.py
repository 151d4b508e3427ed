"""What the relay's tests share: a running relay, and clients that dial it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import pytest
import structlog
from websockets.asyncio.client import ClientConnection, connect

from nexus_protocol.relay_messages import PATH, VERSION_HEADER, FromRelay, Open, Opened, from_relay, to_relay
from nexus_protocol.vocabulary import VERSION, Role
from relay.issuer import Issuer
from relay.server import RelayServer

DEADLINE = 10.0
T = TypeVar("T")


class Listening(Protocol):
    """A relay in this process or in another."""

    @property
    def addresses(self) -> list[str]: ...


@dataclass
class Clock:
    """The time, as a test wants it."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Log:
    """What the relay logs, at every level."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        structlog.configure(
            processors=[structlog.processors.add_log_level, self],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )

    def __call__(self, _logger: object, _method: str, line: MutableMapping[str, Any]) -> NoReturn:
        self.lines.append(dict(line))
        self._loop.call_soon_threadsafe(self._news.set)
        raise structlog.DropEvent

    def errors(self) -> list[str]:
        return [line["event"] for line in self.lines if line["level"] == "error"]

    async def error(self) -> str:
        """The first error, as soon as there is one."""
        async with asyncio.timeout(DEADLINE):
            while not self.errors():
                self._news.clear()
                await self._news.wait()
        return self.errors()[0]


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


def port_of(relay: Listening) -> int:
    return int(relay.addresses[0].rpartition(":")[2])


async def exchange(relay: Listening, data: bytes) -> bytes:
    """Send bytes on a fresh TCP connection; all that comes back until the relay closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(relay))
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), DEADLINE)
    finally:
        writer.close()


async def get(relay: Listening, path: str = PATH, *, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    """Status, headers and body of the answer to one WebSocket handshake."""
    lines = {
        "Host": "relay", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", VERSION_HEADER: str(VERSION),
    } | {name.replace("_", "-"): value for name, value in headers.items()}  # fmt: skip
    request = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items() if v) + "\r\n"
    answer = (await exchange(relay, request.encode("latin-1"))).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), head, body


Dial = Callable[..., Awaitable[Client]]


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer.create(tmp_path)


@pytest.fixture
async def relay(issuer: Issuer) -> AsyncIterator[RelayServer]:
    async with RelayServer(issuer, "127.0.0.1", 0, stall_timeout=1.0) as server:
        yield server


@pytest.fixture
async def log() -> Log:
    return Log()


@pytest.fixture
async def dial(issuer: Issuer) -> AsyncIterator[Dial]:
    """``await dial(relay, Role.AGENT, "office")``: a client that is connected; its Welcome is still to be read."""
    sockets: list[ClientConnection] = []

    async def dial(
        server: Listening, role: Role, *desks: str, subject: str | None = None, token: str | None = None
    ) -> Client:
        token = token or issuer.mint(role, subject or f"an-{role}", desks or ("*",))
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
