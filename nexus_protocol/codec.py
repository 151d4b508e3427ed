"""The one place where bytes from a peer become objects, and objects bytes.

Whatever is wrong with the input, the caller sees one kind of error: ProtocolError with a code.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from .errors import ProtocolError

T = TypeVar("T")

CODES = ("malformed", "too-large")


class Codec(Generic[T]):
    """Encoder and decoder of one tagged union, as JSON text or msgpack bytes, bounded in size."""

    def __init__(self, union: type[T] | object, *, format: str, limit: int) -> None:
        protocol = {"json": msgspec.json, "msgpack": msgspec.msgpack}[format]
        self._encoder = protocol.Encoder()
        self._decoder = protocol.Decoder(union)
        self.limit = limit

    def encode(self, message: T) -> bytes:
        """Raises ProtocolError: ``too-large`` for more bytes than the peer reads, ``malformed`` for what cannot be
        written at all (half a surrogate pair, as in the name of a file that is not UTF-8; an integer past 64 bits).

        The constraints of a message's fields are checked where it is read, not here.
        """
        try:
            data: bytes = self._encoder.encode(message)
        except (UnicodeEncodeError, OverflowError) as error:
            raise ProtocolError("malformed", f"a message that cannot be written: {error}") from None
        if len(data) > self.limit:
            raise ProtocolError("too-large", f"a message of {len(data):,} bytes; at most {self.limit:,} are sent")
        return data

    def decode(self, data: bytes) -> T:
        """Raises ProtocolError ``too-large`` or ``malformed``, never anything else."""
        if len(data) > self.limit:
            raise ProtocolError("too-large", f"a message of {len(data):,} bytes; at most {self.limit:,} are read")
        try:
            message: T = self._decoder.decode(data)
        # msgspec lets two errors through that are not its own: invalid UTF-8 and deep nesting.
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            said = " ".join(str(error).split())  # it may quote the peer, and is one line of a log
            raise ProtocolError("malformed", f"a message that cannot be read: {said}") from None
        return message
