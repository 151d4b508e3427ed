"""One conversation between an operator and an agent, carried by the relay and sealed from end to end.

Sans-I/O: bytes in, messages out, and the other way round. The dialer feeds it the payloads of its relay frames
and sends what it has to say. From the outside in: the tunnel unseals, the lanes put messages together, the codec
reads them, and not before whoever holds the link has asked whose key is at the other end.

    SEALING ──handshake──> STRANGER ──admit──> ADMITTED ──> ended
       └───────────────────────┴── anything wrong ───────────^
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from .codec import Codec
from .errors import LinkClosed, ProtocolError
from .fingerprint import Fingerprint
from .lanes import Lane, Lanes
from .messages import BULK_FROM, MAX_MESSAGE
from .tunnel import MAX_HANDSHAKE, Tunnel
from .vocabulary import Role

In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")
Greeting = TypeVar("Greeting")

MAX_CONTROL = 256 * 1024
MAX_QUEUED = 2 * MAX_MESSAGE
MAX_UNREAD = 4_096
MAX_UNREAD_BYTES = 2 * MAX_MESSAGE
"""Messages received and not yet taken, and their bytes; a program that far behind its peer gives the link up."""
MAX_FROM_STRANGER = 4 * 1024
"""Bytes taken from a peer that was not admitted yet, besides those of its handshake."""


class Link(Generic[In, Out]):
    """Send and receive whole messages. ``peer`` and ``role`` are who the relay says is at the other end.

    Who it really is tells :meth:`secured`. Until :meth:`admit`, nothing is decoded and little is kept. ``wake`` is
    called when there may be something for :meth:`outgoing`; ``hang_up`` when this side ends the link: what is still in
    :meth:`outgoing` then goes out before the end does. The relay hears one word of why.
    """

    def __init__(
        self,
        number: int,
        peer: str,
        role: Role,
        *,
        tunnel: Tunnel,
        incoming: Codec[In],
        outgoing: Codec[Out],
        wake: Callable[[Link[In, Out]], None],
        hang_up: Callable[[Link[In, Out], str], None],
    ) -> None:
        self.number = number
        self.peer = peer
        self.role = role
        self._tunnel = tunnel
        self._incoming = incoming
        self._outgoing = outgoing
        self._wake = wake
        self._hang_up = hang_up
        self._lanes = Lanes(max_control=MAX_CONTROL, max_bulk=MAX_MESSAGE, max_queued=MAX_QUEUED)
        self._inbox: deque[bytes] = deque()
        self._unread = 0
        self._admitted = False
        self._heard = self._sealed = 0  # bytes from a stranger
        self._changed = asyncio.Event()
        self._end: tuple[str, str] | None = None
        self._broken = False  # by what came: no message of ours goes out any more
        self._over = False  # nothing does

    @property
    def admitted(self) -> bool:
        """Whether whoever holds the link knows the key at the other end."""
        return self._admitted

    @property
    def closed(self) -> bool:
        return self._end is not None

    def send(self, message: Out) -> None:
        """Queue a message; never blocks. Raises LinkClosed, or ProtocolError ``too-large``."""
        if self._end is not None:
            raise LinkClosed(*self._end)
        data = self._outgoing.encode(message)
        lane = Lane.BULK if len(data) >= BULK_FROM else Lane.CONTROL
        try:
            self._lanes.send(lane, data)
        except ProtocolError as error:
            self._fail(error)
            raise
        self._wake(self)

    async def secured(self) -> Fingerprint:
        """Whose key is at the other end, once the link is sealed. Raises LinkClosed when it does not come to that."""
        while (peer := self._tunnel.peer) is None:
            await self._news()
        return peer

    def admit(self) -> None:
        """Whoever holds the link knows that key: from now on messages of every kind and size are taken."""
        self._admitted = True

    async def receive(self) -> In:
        """The next message. Raises LinkClosed once everything received before the end has been taken."""
        assert self._admitted, "the other end was not admitted yet"
        return self._decoded(self._incoming, await self._next())

    async def greeting(self, codec: Codec[Greeting]) -> Greeting:
        """The first message, of the few kinds that one may say who was not admitted yet. Raises LinkClosed."""
        return self._decoded(codec, await self._next())

    async def _next(self) -> bytes:
        while not self._inbox:
            await self._news()
        data = self._inbox.popleft()
        self._unread -= len(data)
        return data

    async def _news(self) -> None:
        if self._end is not None:
            raise LinkClosed(*self._end)
        self._changed.clear()
        await self._changed.wait()

    def _decoded(self, codec: Codec[T], data: bytes) -> T:
        try:
            return codec.decode(data)
        except ProtocolError as error:
            self._fail(error)
            raise LinkClosed(error.code, str(error)) from None

    async def wait_closed(self) -> None:
        """Returns when the link has ended, whatever is still to be received."""
        while self._end is None:
            self._changed.clear()
            await self._changed.wait()

    def close(self, code: str = "closed", reason: str = "") -> None:
        """End the link from this side; idempotent.

        Small messages sent before still arrive; of bulk, what the window lets through now. Whoever wants the other
        side to have a large message lets the other side close.
        """
        if self._end is None:
            self._finish(code, reason)
            self._hang_up(self, code)

    # What follows is the dialer's side.

    def fed(self, payload: bytes) -> None:
        """Bytes from the peer. Whatever is wrong with them ends this link and nothing else."""
        if self._end is not None:
            return
        try:
            plain = self._tunnel.receive(payload)
            if not self._admitted:
                self._heard += len(plain)
                self._sealed += len(payload)  # what opens to nothing costs time as well
                if self._heard > MAX_FROM_STRANGER or self._sealed > MAX_HANDSHAKE + 2 * MAX_FROM_STRANGER:
                    raise ProtocolError("too-large", "more was said than a stranger may say")
            for data in self._lanes.receive(plain):
                self._inbox.append(data)
                self._unread += len(data)
            if len(self._inbox) > MAX_UNREAD or self._unread > MAX_UNREAD_BYTES:
                raise ProtocolError("too-slow", "this side does not keep up with the other")
        except ProtocolError as error:
            self._fail(error)
        if self._tunnel.finished:
            self.close("closed", "the other side has ended the conversation")
        self._changed.set()
        self._wake(self)

    def outgoing(self) -> bytes | None:
        """The payload of the next relay frame, or None."""
        if self._over:
            return None
        if (payload := self._tunnel.outgoing()) is not None:
            return payload
        if not self._broken and self._tunnel.peer is not None:
            if (fragment := self._lanes.next_fragment()) is not None:
                try:
                    return self._tunnel.seal(fragment)
                except ProtocolError as error:
                    self._fail(error)
                    return None
            if self._end is not None:
                self._broken = True
                self._tunnel.finish()
                return self._tunnel.outgoing()
        return None

    def ended(self, code: str, reason: str) -> None:
        """The link is over, and nothing more can be said on it."""
        self._over = True
        self._finish(code, reason)

    def _fail(self, error: ProtocolError) -> None:
        self._broken = True
        self.close(error.code, str(error))

    def _finish(self, code: str, reason: str) -> None:
        if self._end is None:
            self._end = (code, reason or "the link was closed")
            self._changed.set()
