"""What a program asks of the relay besides links: a token for an invitation, and room for an invitation of its own."""

from __future__ import annotations

from typing import TypeVar

from .codec import Codec
from .errors import ProtocolError, Unreachable, UsageError
from .relay_messages import (
    INVITATION_HEADER,
    INVITE_PATH,
    JOIN_PATH,
    Invite,
    Invited,
    Joined,
    NotInvited,
    from_invite,
    from_join,
    to_invite,
)
from .relay_socket import TokenRefused, exchange

__all__ = ["TokenRefused", "redeem", "register"]

T = TypeVar("T")


async def redeem(url: str, proof: bytes, token: str | None = None) -> Joined:
    """Exchange the relay's proof of an invitation (see invitation.py), once, for a token.

    ``token`` is one of the same relay that is still held: if it is of the same role, the new one reaches its desks too.
    Raises TokenRefused when that is worth nothing any more, and the invitation is still good then; else Unauthorized
    or Unreachable.
    """
    return _read(await exchange(url + JOIN_PATH, token, {INVITATION_HEADER: proof.hex()}), from_join)


async def register(url: str, token: str, invite: Invite) -> Invited:
    """Have the relay take an invitation to the desk whose agent holds ``token``.

    Raises UsageError for an invitation that cannot be, else Unauthorized or Unreachable.
    """
    asked = to_invite.encode(invite)
    try:
        to_invite.decode(asked)
    except ProtocolError as error:
        raise UsageError(f"there can be no such invitation: {error}") from None
    match _read(await exchange(url + INVITE_PATH, token, say=asked), from_invite):
        case NotInvited(code=code, reason=reason):
            raise Unreachable(f"the relay takes no such invitation: {reason or code}")
        case invited:
            return invited


def _read(data: bytes, codec: Codec[T]) -> T:
    try:
        return codec.decode(data)
    except ProtocolError as error:
        raise Unreachable(f"the relay answers what cannot be read: {error}") from None
