"""One conversation between an operator and an agent, carried by the relay.

Sans-I/O: bytes in, messages out, and the other way round. The dialer feeds it the payloads of its relay frames
and sends what it has to say. Whatever seals a link goes between `Lanes` and those payloads, in this module only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from .codec import Codec
from .errors import LinkClosed, ProtocolError
from .lanes import Lane, Lanes
from .messages import BULK_FROM, MAX_MESSAGE
from .vocabulary import Role

In = TypeVar("In")
Out = TypeVar("Out")

MAX_CONTROL = 256 * 1024
MAX_QUEUED = 2 * MAX_MESSAGE
MAX_UNREAD = 4_096
MAX_UNREAD_BYTES = 2 * MAX_MESSAGE
"""Messages received and not yet taken, and their bytes; a program that far behind its peer gives the link up."""


class Link(Generic[In, Out]):
    """Send and receive whole messages. ``peer`` is who the relay says is at the other end.

    ``wake`` is called when there may be something for :meth:`outgoing`; ``hang_up`` when this side ends the link:
    what is still in :meth:`outgoing` then goes out before the end does.
    """

    def __init__(
        self,
        number: int,
        peer: str,
        role: Role,
        *,
        incoming: Codec[In],
        outgoing: Codec[Out],
        wake: Callable[[Link[In, Out]], None],
        hang_up: Callable[[Link[In, Out], str], None],
    ) -> None:
        self.number = number
        self.peer = peer
        self.role = role
        self._incoming = incoming
        self._outgoing = outgoing
        self._wake = wake
        self._hang_up = hang_up
        self._lanes = Lanes(max_control=MAX_CONTROL, max_bulk=MAX_MESSAGE, max_queued=MAX_QUEUED)
        self._inbox: deque[tuple[int, In]] = deque()
        self._unread = 0
        self._changed = asyncio.Event()
        self._end: tuple[str, str] | None = None
        self._cut = False

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

    async def receive(self) -> In:
        """The next message. Raises LinkClosed once everything received before the end has been taken."""
        while not self._inbox:
            if self._end is not None:
                raise LinkClosed(*self._end)
            self._changed.clear()
            await self._changed.wait()
        size, message = self._inbox.popleft()
        self._unread -= size
        return message

    def close(self, code: str = "closed", reason: str = "") -> None:
        """End the link from this side; idempotent.

        Small messages sent before still arrive; of bulk, what the window lets through now. Whoever wants the other
        side to have a large message lets the other side close.
        """
        if self._end is None:
            self._finish(code, reason)
            self._hang_up(self, reason or code)

    # What follows is the dialer's side.

    def fed(self, payload: bytes) -> None:
        """Bytes from the peer. Whatever is wrong with them ends this link and nothing else."""
        if self._end is not None:
            return
        try:
            for data in self._lanes.receive(payload):
                self._inbox.append((len(data), self._incoming.decode(data)))
                self._unread += len(data)
            if len(self._inbox) > MAX_UNREAD or self._unread > MAX_UNREAD_BYTES:
                raise ProtocolError("too-slow", "this side does not keep up with the other")
        except ProtocolError as error:
            self._fail(error)
        self._changed.set()
        self._wake(self)

    def outgoing(self) -> bytes | None:
        """The payload of the next relay frame, or None."""
        return None if self._cut else self._lanes.next_fragment()

    def ended(self, code: str, reason: str) -> None:
        """The link is over, and nothing more can be said on it."""
        self._cut = True
        self._finish(code, reason)

    def _fail(self, error: ProtocolError) -> None:
        self._cut = True
        self.close(error.code, str(error))

    def _finish(self, code: str, reason: str) -> None:
        if self._end is None:
            self._end = (code, reason or "the link was closed")
            self._changed.set()
