"""What sealing costs: the time until a link is open, and each message, beside the same with nothing sealed.

Relay, agent and console run in this process, over real sockets. The way between console and relay can be made longer,
which tells round trips from computing.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from nexus_agent.agent import Agent
from nexus_agent.desks.synthetic import SyntheticDesk
from nexus_agent.permissions.operators import Operators
from nexus_agent.permissions.policy import Policy
from nexus_protocol import dialer
from nexus_protocol.fingerprint import SIZE, Fingerprint
from nexus_protocol.identity import Identity
from nexus_protocol.settings import RelayToken
from nexus_protocol.tunnel import Tunnel
from nexus_protocol.vocabulary import Role
from nexus_tui.core.membership import Membership
from nexus_tui.core.session import Session
from relay.issuer import Issuer
from relay.server import RelayServer
from relay.switchboard import Limits

DESK = "bench"
SIZES = (100, 1_000, 16_000)
WAYS = (0.0, 0.025)
"""Seconds that a byte is longer on its way between console and relay."""


class PlainTunnel:
    """No tunnel: each end tells the other its fingerprint, without a round trip, and that is believed."""

    def __init__(self, identity: Identity, *, opens: bool) -> None:
        self.peer: Fingerprint | None = None
        self.finished = False
        self._says: list[bytes] = [bytes(identity.fingerprint)]
        self._heard = b""

    def receive(self, data: bytes) -> bytes:
        self._heard += data
        if self.peer is None and len(self._heard) >= SIZE:
            self.peer, self._heard = Fingerprint(self._heard[:SIZE]), self._heard[SIZE:]
        plain, self._heard = (self._heard, b"") if self.peer is not None else (b"", self._heard)
        return plain

    def seal(self, plain: bytes) -> bytes:
        return plain

    def outgoing(self) -> bytes | None:
        return self._says.pop() if self._says else None

    def finish(self) -> None:
        """There is nothing to say it with."""


TUNNELS: dict[str, type[Tunnel] | type[PlainTunnel]] = {"sealed": Tunnel, "plain": PlainTunnel}


def opening(times: int) -> dict[tuple[str, float], list[float]]:
    """Milliseconds from `connect` to the desk's welcome; keys are the tunnel and the added way."""
    return asyncio.run(_opening(times))


async def _opening(times: int) -> dict[tuple[str, float], list[float]]:
    figures: dict[tuple[str, float], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        async with _served(Path(folder)) as (url, member):
            for way in WAYS:
                async with _longer(url, way) as address:
                    for _ in range(times):
                        for name, tunnel in TUNNELS.items():  # in turns, so that both meet the same machine
                            dialer.Tunnel = tunnel  # type: ignore[misc,assignment]
                            figures[name, way].append(1000 * await _open_one(member(address)))
    return figures


async def _open_one(membership: Membership) -> float:
    session = Session(membership, watch=False)
    began = time.perf_counter()
    async with session.dialled():
        await session.open(DESK)
        return time.perf_counter() - began


@contextlib.asynccontextmanager
async def _served(folder: Path) -> AsyncIterator[tuple[str, Callable[[str], Membership]]]:
    """A relay and an agent; the relay's address, and what makes an operator for an address."""
    issuer, key, mine = Issuer.create(folder), Identity.new(), folder / "operator"
    mine.mkdir(mode=0o700)
    operators, desk = Operators(folder), SyntheticDesk()
    operators.add("bench", Role.OPERATOR, Identity.of(mine).fingerprint, approver=True, by="bench")
    there = asyncio.Event()
    agent = Agent(desk, Policy(), operators=operators, on_status=lambda _: there.set())
    fast = Limits(opens_at_once=100_000)  # nobody else opens links one after the other
    async with RelayServer(issuer, "127.0.0.1", 0, limits=fast) as relay:
        (url,) = relay.addresses
        serving = asyncio.create_task(agent.run(url, RelayToken(issuer.mint(Role.AGENT, DESK, (DESK,))), key))
        await there.wait()
        token = RelayToken(issuer.mint(Role.OPERATOR, "bench", (DESK,)))

        def member(address: str) -> Membership:
            membership = Membership.of(mine, address, token)
            membership.known.pin(DESK, key.fingerprint, by="bench")
            return membership

        yield url, member
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await desk.close()


@contextlib.asynccontextmanager
async def _longer(url: str, seconds: float) -> AsyncIterator[str]:
    """An address from which everything goes to that one, and back, later."""
    host, _, port = url.removeprefix("ws://").rpartition(":")
    carriers: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65_536):
            loop.call_later(seconds, writer.write, data)
        loop.call_later(seconds, writer.close)

    async def accept(near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        far_reader, far = await asyncio.open_connection(host, int(port))
        for reader, writer in ((near_reader, far), (far_reader, near)):
            task = asyncio.create_task(carry(reader, writer))
            carriers.add(task)
            task.add_done_callback(carriers.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for task in carriers:
        task.cancel()


def handshakes(times: int) -> list[float]:
    """Milliseconds of computing that both ends of one handshake take together."""
    mine, theirs = Identity.new(), Identity.new()
    figures = []
    for _ in range(times):
        began = time.perf_counter()
        _joined(mine, theirs)
        figures.append(1000 * (time.perf_counter() - began))
    return figures


def messages(times: int) -> dict[int, list[float]]:
    """Microseconds that sealing a message of so many bytes and opening it take together."""
    here, there = _joined(Identity.new(), Identity.new())
    figures: dict[int, list[float]] = {}
    for size in SIZES:
        data = bytes(size)
        figures[size] = []
        for _ in range(times):
            began = time.perf_counter()
            there.receive(here.seal(data))
            figures[size].append(1e6 * (time.perf_counter() - began))
    return figures


def _joined(mine: Identity, theirs: Identity) -> tuple[Tunnel, Tunnel]:
    here, there = Tunnel(mine, opens=True), Tunnel(theirs, opens=False)
    while here.peer is None or there.peer is None:
        for one, other in ((here, there), (there, here)):
            while (data := one.outgoing()) is not None:
                other.receive(data)
    return here, there
