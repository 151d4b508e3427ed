"""What a program and the relay say to each other over one WebSocket.

Text frames hold one JSON message of this module. Binary frames hold a link number (4 bytes, big endian) and
up to MAX_PAYLOAD bytes of that link, which the relay copies and cannot read.

    operator                relay                   agent
       │ ─── GET /v1/connect, Authorization: Bearer ─── │
       │ <── welcome {desks} ── │ ── welcome ─────────> │
       │ ─── open {ref, desk} ─>│ ── incoming {link} ─> │
       │ <── opened {ref, link} │                       │
       │ <═══════════ binary frames of that link ═════> │
       │ ─── close {link} ────> │ ── closed {link} ───> │
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .actions import Struct
from .codec import Codec
from .errors import ProtocolError
from .vocabulary import VERSION, Name, Role

PATH = "/v1/connect"
VERSION_HEADER = "Nexus-Protocol"
MAX_PAYLOAD = 64 * 1024
MAX_IN_FLIGHT = 1024 * 1024
"""Bytes of one link that the relay holds while the receiver is slow; past it the link ends as ``too-slow``.

An end that never has more than this unacknowledged by the other end is not cut, as long as all links to the same
receiver together stay below four times as much. Each frame counts FRAME_COST more.
"""
FRAME_COST = 128
_NUMBER = 4

Reason = Annotated[str, Meta(max_length=512)]
LinkNumber = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
Ref = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]


class CloseCode:
    """WebSocket close codes the relay uses besides RFC 6455's own (1001 going away, 1009 too large, …)."""

    GOING_AWAY = 1001
    REPLACED = 4001
    TOKEN = 4002
    TOO_SLOW = 4003
    PROTOCOL = 4004
    INTERNAL = 1011
    FULL = 1013

    FINAL = frozenset({REPLACED, TOKEN})
    """Codes after which dialling again by itself would be wrong."""


class Welcome(Struct, frozen=True, tag="welcome"):
    """The first message of the relay: whom it takes the peer for, and the desks it may reach now.

    An agent finds the one desk that it serves.
    """

    subject: Name
    role: Role
    desks: tuple[Name, ...] = ()
    version: int = VERSION


class Presence(Struct, frozen=True, tag="presence"):
    """The desks an operator may reach, after a change."""

    desks: tuple[Name, ...]


class Open(Struct, frozen=True, tag="open"):
    """An operator asks for a link to a desk; ``ref`` comes back in the answer."""

    ref: Ref
    desk: Name


class Opened(Struct, frozen=True, tag="opened"):
    ref: Ref
    link: LinkNumber
    desk: Name


class NotOpened(Struct, frozen=True, tag="not_opened"):
    """``code``: unknown-desk (not present), forbidden (not in the token), too-many (links; try again later)."""

    ref: Ref
    code: str
    reason: Reason


class Incoming(Struct, frozen=True, tag="incoming"):
    """Tells the agent of a new link: who the relay says it is."""

    link: LinkNumber
    subject: Name
    role: Role


class Close(Struct, frozen=True, tag="close"):
    link: LinkNumber
    reason: Reason = ""


class Closed(Struct, frozen=True, tag="closed"):
    """The relay ended a link. ``code``: closed (by the peer), gone (peer's socket), too-slow."""

    link: LinkNumber
    code: str
    reason: Reason = ""


ToRelay = Open | Close
FromRelay = Welcome | Presence | Opened | NotOpened | Incoming | Closed

to_relay: Codec[ToRelay] = Codec(ToRelay, format="json", limit=4 * 1024)
from_relay: Codec[FromRelay] = Codec(FromRelay, format="json", limit=64 * 1024)


def pack_frame(link: int, payload: bytes) -> bytes:
    return link.to_bytes(_NUMBER, "big") + payload


def unpack_frame(frame: bytes) -> tuple[int, bytes]:
    """The link number and its bytes. Raises ProtocolError."""
    if len(frame) < _NUMBER:
        raise ProtocolError("malformed", "a binary frame too short to name its link")
    if len(frame) > _NUMBER + MAX_PAYLOAD:
        raise ProtocolError("too-large", f"a binary frame of {len(frame):,} bytes")
    return int.from_bytes(frame[:_NUMBER], "big"), frame[_NUMBER:]
