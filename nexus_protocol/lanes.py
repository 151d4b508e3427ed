"""Messages cut into fragments on two lanes, over one ordered stream of bytes; no I/O.

A fragment is 4 bytes of header and up to MAX_FRAGMENT bytes: the lane in the low bits of the first byte, LAST
in its high bit, then the length (24 bits, big endian). Fragments of the control lane go first, so a screenshot
or a file never stands before a key press. The bulk lane has a window: its sender stops after WINDOW bytes that
the receiver has not acknowledged, so that what the relay must hold for a slow link is bounded.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from .errors import ProtocolError

_HEADER = 4
MAX_FRAGMENT = 16 * 1024 - _HEADER
"""With its header a fragment fills one TLS record (RFC 8446, 5.1)."""
WINDOW = 256 * 1024
MAX_WAITING = 8_192
"""Fragments queued at most: many small messages cost more than their bytes."""
_ACK_EVERY = WINDOW // 4
_LAST = 0x80


class Lane(IntEnum):
    CONTROL = 0
    BULK = 1
    ACK = 2
    """Payload: bytes of the bulk lane received since the last such fragment (4 bytes, big endian)."""


class Lanes:
    """Both directions of one link. ``limits`` are the longest message and the longest queue, in bytes, of a lane."""

    def __init__(self, *, max_control: int, max_bulk: int, max_queued: int) -> None:
        self._max_message = {Lane.CONTROL: max_control, Lane.BULK: max_bulk}
        self._max_queued = max_queued
        self._queues: dict[Lane, deque[tuple[int, memoryview]]] = {Lane.CONTROL: deque(), Lane.BULK: deque()}
        self._queued = 0
        self._unacknowledged = 0  # bulk bytes sent that the peer has not acknowledged
        self._unreported = 0  # bulk bytes received that the peer has not been told of
        self._input = bytearray()
        self._partial = {Lane.CONTROL: bytearray(), Lane.BULK: bytearray()}

    @property
    def queued(self) -> int:
        """Bytes given to :meth:`send` and not yet taken by :meth:`next_fragment`."""
        return self._queued

    def send(self, lane: Lane, message: bytes) -> None:
        """Queue one message. Raises ProtocolError ``too-slow`` when the peer has fallen too far behind."""
        view = memoryview(message)
        pieces = range(0, max(len(message), 1), MAX_FRAGMENT)
        waiting = sum(map(len, self._queues.values()))
        if self._queued + len(message) > self._max_queued or waiting + len(pieces) > MAX_WAITING:
            raise ProtocolError("too-slow", f"{self._queued:,} bytes are waiting and the other side is not reading")
        for start in pieces:
            flag = _LAST if start == pieces[-1] else 0
            self._queues[lane].append((lane | flag, view[start : start + MAX_FRAGMENT]))
        self._queued += len(message)

    def next_fragment(self) -> bytes | None:
        """The bytes to send next, or None when there is nothing, or nothing that the window lets through."""
        if self._unreported >= _ACK_EVERY:
            count, self._unreported = self._unreported, 0
            return _fragment(Lane.ACK | _LAST, count.to_bytes(4, "big"))
        for lane, queue in self._queues.items():
            if not queue:
                continue
            first, payload = queue[0]
            if lane is Lane.BULK:
                if self._unacknowledged + len(payload) > WINDOW:
                    continue
                self._unacknowledged += len(payload)
            queue.popleft()
            self._queued -= len(payload)
            return _fragment(first, payload)
        return None

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes of the peer in, and return the messages they complete. Raises ProtocolError."""
        self._input += data
        messages = []
        while len(self._input) >= _HEADER:
            length = int.from_bytes(self._input[1:_HEADER], "big")
            if length > MAX_FRAGMENT:
                raise ProtocolError("too-large", f"a fragment of {length:,} bytes; at most {MAX_FRAGMENT:,} are read")
            if len(self._input) < _HEADER + length:
                break
            first = self._input[0]
            payload = bytes(self._input[_HEADER : _HEADER + length])
            del self._input[: _HEADER + length]
            message = self._take(first, payload)
            if message is not None:
                messages.append(message)
        return messages

    def _take(self, first: int, payload: bytes) -> bytes | None:
        try:
            lane = Lane(first & ~_LAST)
        except ValueError:
            raise ProtocolError("malformed", f"a fragment on lane {first & ~_LAST}, which does not exist") from None
        if lane is Lane.ACK:
            self._acknowledged(first, payload)
            return None
        if lane is Lane.BULK:
            self._unreported += len(payload)
            if self._unreported > WINDOW:  # a peer that counts as we do can never get here
                raise ProtocolError("malformed", f"more than the {WINDOW:,} bytes of bulk that were let through")
        partial = self._partial[lane]
        partial += payload
        if len(partial) > self._max_message[lane]:
            raise ProtocolError(
                "too-large", f"a message past {self._max_message[lane]:,} bytes on the {lane.name} lane"
            )
        if not first & _LAST:
            return None
        self._partial[lane] = bytearray()
        return bytes(partial)

    def _acknowledged(self, first: int, payload: bytes) -> None:
        count = int.from_bytes(payload, "big")
        if not first & _LAST or len(payload) != 4 or not 0 < count <= self._unacknowledged:
            raise ProtocolError("malformed", "an acknowledgement of bytes that were never sent")
        self._unacknowledged -= count


def _fragment(first: int, payload: bytes | memoryview) -> bytes:
    return bytes((first,)) + len(payload).to_bytes(3, "big") + payload
