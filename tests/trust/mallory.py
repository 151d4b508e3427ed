"""A relay whose owner wants in: it carries what it must, and tampers with what it likes.

It speaks to real programs over real sockets. Each link gets one `Attack` for each direction, which is done to the frame
of its turn; both ends are left to find out.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from nexus_protocol.errors import ProtocolError
from nexus_protocol.identity import Identity
from nexus_protocol.relay_messages import (
    Close,
    Closed,
    FromRelay,
    Incoming,
    NotOpened,
    Open,
    Opened,
    Welcome,
    from_relay,
    pack_frame,
    to_relay,
    unpack_frame,
)
from nexus_protocol.tunnel import Tunnel
from nexus_protocol.vocabulary import Role

DESK = "office"

TURNS = {"there": (0, 1, 2, 3, 4, 5), "back": (0, 1, 2, 3, 4, 5)}
"""Frames that are tampered with: the handshake's first (two there, one back), and those after it."""
NEVER = -1

Tampering = Callable[["Direction", bytes], list[bytes]]


def flip(way: Direction, frame: bytes) -> list[bytes]:
    """One bit of it."""
    bit = way.chance.randrange(8 * len(frame))
    changed = bytearray(frame)
    changed[bit // 8] ^= 1 << bit % 8
    return [bytes(changed)]


def truncate(way: Direction, frame: bytes) -> list[bytes]:
    """Its end is missing."""
    return [frame[: way.chance.randrange(len(frame))]]


def pad(way: Direction, frame: bytes) -> list[bytes]:
    """Something comes behind it."""
    return [frame + way.chance.randbytes(way.chance.randint(1, 64))]


def replay(way: Direction, frame: bytes) -> list[bytes]:
    """It comes twice."""
    return [frame, frame]


def replay_old(way: Direction, frame: bytes) -> list[bytes]:
    """One of the same link comes again before it."""
    return [way.chance.choice([*way.seen, frame]), frame]


def replay_foreign(way: Direction, frame: bytes) -> list[bytes]:
    """One of an earlier link, that went the same way, comes in its place."""
    return [way.chance.choice(way.foreign)] if way.foreign else [frame, frame]


def reflect(way: Direction, frame: bytes) -> list[bytes]:
    """What the receiver itself has said comes in its place."""
    return [way.back.seen[-1]] if way.back is not None and way.back.seen else [frame, frame]


def drop(way: Direction, frame: bytes) -> list[bytes]:
    """It never comes."""
    return []


def reorder(way: Direction, frame: bytes) -> list[bytes]:
    """It comes after the next one."""
    way.held = frame
    return []


def inject(way: Direction, frame: bytes) -> list[bytes]:
    """Bytes of somebody else come before it."""
    return [way.chance.randbytes(way.chance.randint(1, 200)), frame]


def forge(way: Direction, frame: bytes) -> list[bytes]:
    """A record that looks like one comes before it."""
    body = way.chance.randbytes(way.chance.randint(17, 200))
    return [b"\x17\x03\x03" + len(body).to_bytes(2, "big") + body, frame]


TAMPERINGS: tuple[Tampering, ...] = (
    flip, flip, flip, truncate, pad, replay, replay_old, replay_foreign, reflect, drop, reorder, inject, forge,
)  # fmt: skip


@dataclass
class Direction:
    """The frames of one link that go one way, and what is done to the one whose turn it is."""

    name: str
    chance: random.Random
    tampering: Tampering
    turn: int
    foreign: deque[bytes]
    seen: list[bytes] = field(default_factory=list)
    back: Direction | None = None
    held: bytes | None = None
    done: bool = False

    def carry(self, frame: bytes) -> list[bytes]:
        """What is sent on in the place of this frame."""
        self.seen.append(frame)
        if len(self.seen) - 1 == self.turn:
            self.done = True
            return self.tampering(self, frame)
        held, self.held = self.held, None
        return [frame] if held is None else [frame, held]


@dataclass
class Middle:
    """Two sealed conversations instead of one: Mallory as the desk to the operator, as the operator to the desk."""

    to_operator: Tunnel
    to_agent: Tunnel
    heard: bytes = b""

    def carry(self, frame: bytes, *, from_operator: bool) -> tuple[list[bytes], list[bytes]]:
        """What goes to the operator, and what to the agent."""
        near, far = (self.to_operator, self.to_agent) if from_operator else (self.to_agent, self.to_operator)
        with contextlib.suppress(ProtocolError):
            plain = near.receive(frame)
            self.heard += plain
            if plain and far.peer is not None:
                far.seal(plain)
        return _sealed(self.to_operator), _sealed(self.to_agent)


def _sealed(tunnel: Tunnel) -> list[bytes]:
    frames = []
    while (frame := tunnel.outgoing()) is not None:
        frames.append(frame)
    return frames


class Mallory:
    """The relay. ``tally`` counts what was done, by its name, ``places`` to which frame of a link."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.tally: Counter[str] = Counter()
        self.places: Counter[tuple[str, int]] = Counter()
        self.tampered = asyncio.Event()
        """Set once something was done to a frame of the link that was opened last."""
        self.in_the_middle = False
        self.middles: list[Middle] = []
        self._identity = Identity.new()
        self._agent: ServerConnection | None = None
        self._operator: ServerConnection | None = None
        self._agent_there = asyncio.Event()
        self._links: dict[int, tuple[Direction, Direction]] = {}
        self._middles: dict[int, Middle] = {}
        self._foreign: tuple[deque[bytes], deque[bytes]] = deque(maxlen=50), deque(maxlen=50)
        self._number = 0
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(self._serve, "127.0.0.1", 0, compression=None, close_timeout=1)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def agent(self) -> None:
        """Returns when the agent is there."""
        await self._agent_there.wait()

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        is_agent = socket.request.headers["Authorization"].endswith("agent")
        if is_agent:
            self._agent = socket
            await _say(socket, Welcome(subject=DESK, role=Role.AGENT, desks=(DESK,)))
            self._agent_there.set()
        else:
            self._operator = socket
            await _say(socket, Welcome(subject="alice", role=Role.OPERATOR, desks=(DESK,)))
        with contextlib.suppress(ConnectionClosed):
            async for frame in socket:
                await self._take(frame, from_operator=not is_agent)

    async def _take(self, frame: str | bytes, *, from_operator: bool) -> None:
        assert self._agent is not None
        assert self._operator is not None
        there = self._agent if from_operator else self._operator
        if isinstance(frame, bytes):
            number, payload = unpack_frame(frame)
            if number in self._middles:
                near, far = self._middles[number].carry(payload, from_operator=from_operator)
                for to, sealed in ((self._operator, near), (self._agent, far)):
                    for one in sealed:
                        await to.send(pack_frame(number, one))
            elif number in self._links:
                way = self._links[number][0 if from_operator else 1]
                for one in way.carry(payload):
                    await there.send(pack_frame(number, one))
                if way.done:
                    self.tampered.set()
            return
        match to_relay.decode(frame.encode()):
            case Open(ref=ref, desk=desk) if desk == DESK:
                await self._open(ref)
            case Open(ref=ref):  # so that the operator can tell that everything before has arrived
                await _say(self._operator, NotOpened(ref=ref, code="unknown-desk", reason="not here"))
            case Close(link=number):
                self._forget(number)
                await _say(there, Closed(link=number, code="closed", reason=""))

    async def _open(self, ref: int) -> None:
        assert self._agent is not None
        assert self._operator is not None
        self._number += 1
        self.tampered.clear()
        if self.in_the_middle:
            middle = Middle(Tunnel(self._identity, opens=False), Tunnel(self._identity, opens=True))
            self.middles.append(middle)
            self._middles[self._number] = middle
            self.tally["certificates swapped"] += 1
        else:
            there, back = (
                Direction(name, self.chance, self.chance.choice(TAMPERINGS), self.chance.choice(turns), foreign)
                for (name, turns), foreign in zip(TURNS.items(), self._foreign, strict=True)
            )
            spared = self.chance.choice((None, there, back))  # or hardly any link would come to its later frames
            if spared is not None:
                spared.turn = NEVER
            there.back, back.back = back, there
            self._links[self._number] = there, back
        await _say(self._agent, Incoming(link=self._number, subject="alice", role=Role.OPERATOR))
        await _say(self._operator, Opened(ref=ref, link=self._number, desk=DESK))
        if self.in_the_middle:
            for sealed in _sealed(self._middles[self._number].to_agent):
                await self._agent.send(pack_frame(self._number, sealed))

    def _forget(self, number: int) -> None:
        self._middles.pop(number, None)
        for way in self._links.pop(number, ()):
            if way.done:
                self.tally[way.tampering.__name__] += 1
                self.places[way.name, way.turn] += 1
            way.foreign.extend(way.seen[:3])


async def _say(socket: ServerConnection, message: FromRelay) -> None:
    await socket.send(from_relay.encode(message).decode())
