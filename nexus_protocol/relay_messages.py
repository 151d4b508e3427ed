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

A peer that stays is sent a fresh token (`Renewed`) when half of its token's life is over.

Two more paths serve invitations, each for one exchange on a connection of its own:

    GET /v1/join, Nexus-Invitation: PROOF        ── joined {token} ──>        then closed
    GET /v1/invite, Authorization: Bearer        <── invite {digest} ── agent ── invited or not_invited ──> closed
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .actions import Struct
from .codec import Codec
from .errors import ProtocolError
from .vocabulary import VERSION, Name, Role

PATH = "/v1/connect"
JOIN_PATH = "/v1/join"
INVITE_PATH = "/v1/invite"
VERSION_HEADER = "Nexus-Protocol"
INVITATION_HEADER = "Nexus-Invitation"
"""An invitation's proof for the relay, in hexadecimal."""
MAX_INVITATION = 7 * 24 * 3600
"""Seconds that an invitation can wait to be used."""
TOKEN_SECONDS, MAX_TOKEN_SECONDS = 24 * 3600, 90 * 24 * 3600
"""How long the token is valid that an invitation gives: unless said, and at most."""
MAX_PAYLOAD = 64 * 1024
MAX_IN_FLIGHT = 1024 * 1024
"""Bytes of one link that the relay holds while the receiver is slow; past it the link ends as ``too-slow``.

An end that never has more than this unacknowledged by the other end is not cut, as long as all links to the same
receiver together stay below four times as much. Each frame counts FRAME_COST more.
"""
FRAME_COST = 128
_NUMBER = 4

Reason = Annotated[str, Meta(max_length=512)]
Code = Annotated[str, Meta(pattern=r"^[a-z-]{1,32}\Z")]
"""Why, as a word for programs. It is logged, and shown where a reason is missing: nothing in one steers a terminal."""
LinkNumber = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
Ref = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
Token = Annotated[str, Meta(max_length=7_168, pattern=r"^[A-Za-z0-9._-]+\Z")]
"""A relay token: nothing in one can end the header it goes into."""
DeskOrAll = Annotated[str, Meta(max_length=64, pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._@-]*)\Z")]
Epoch = Annotated[int, Meta(ge=0, le=2**40)]
"""Seconds since the epoch."""


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
    """``code``: unknown-desk (not present), forbidden (not in the token), too-many (links, or asked for too fast)."""

    ref: Ref
    code: Code
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
    code: Code
    reason: Reason = ""


class Renewed(Struct, frozen=True, tag="renewed"):
    """A fresh token in place of the one this connection was made with, for the next connection."""

    token: Token


class Joined(Struct, frozen=True, tag="joined"):
    """What an invitation was exchanged for. ``desks`` is what the token reaches; ``*`` is every desk."""

    token: Token
    subject: Name
    role: Role
    desks: tuple[DeskOrAll, ...]
    expires: Epoch


class Invite(Struct, frozen=True, tag="invite"):
    """An agent announces an invitation to its own desk, by the digest of the relay's proof (see invitation.py).

    ``seconds``: how long it waits to be used; ``token_seconds``: how long the token is then valid, unless renewed.
    """

    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    subject: Name
    role: Role
    seconds: Annotated[int, Meta(ge=1, le=MAX_INVITATION)]
    token_seconds: Annotated[int, Meta(ge=60, le=MAX_TOKEN_SECONDS)] = TOKEN_SECONDS


class Invited(Struct, frozen=True, tag="invited"):
    """The relay takes that invitation, once, until then. ``desk`` is the one it is for: the agent's own."""

    expires: Epoch
    desk: Name


class NotInvited(Struct, frozen=True, tag="not_invited"):
    """``code``: forbidden, malformed, too-many (wait for one to be used or to expire), unavailable (try again)."""

    code: Code
    reason: Reason


ToRelay = Open | Close
FromRelay = Welcome | Presence | Opened | NotOpened | Incoming | Closed | Renewed

to_relay: Codec[ToRelay] = Codec(ToRelay, format="json", limit=4 * 1024)
from_relay: Codec[FromRelay] = Codec(FromRelay, format="json", limit=64 * 1024)
from_join: Codec[Joined] = Codec(Joined, format="json", limit=64 * 1024)
to_invite: Codec[Invite] = Codec(Invite, format="json", limit=4 * 1024)
from_invite: Codec[Invited | NotInvited] = Codec(Invited | NotInvited, format="json", limit=4 * 1024)


def pack_frame(link: int, payload: bytes) -> bytes:
    return link.to_bytes(_NUMBER, "big") + payload


def unpack_frame(frame: bytes) -> tuple[int, bytes]:
    """The link number and its bytes. Raises ProtocolError."""
    if len(frame) < _NUMBER:
        raise ProtocolError("malformed", "a binary frame too short to name its link")
    if len(frame) > _NUMBER + MAX_PAYLOAD:
        raise ProtocolError("too-large", f"a binary frame of {len(frame):,} bytes")
    return int.from_bytes(frame[:_NUMBER], "big"), frame[_NUMBER:]
