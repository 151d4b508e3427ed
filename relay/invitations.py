"""The invitations that wait to be used: the digest of each proof, and what it is good for. No I/O."""

from __future__ import annotations

import msgspec

from nexus_protocol.errors import NexusError
from nexus_protocol.vocabulary import Role

from .claims import DEFAULT_TTL

MAX_PENDING = 64
"""Invitations to one desk that can wait at a time."""


class TooMany(NexusError):
    """As many invitations to that desk wait as there can be."""


class Pending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``expires``: seconds since the epoch; ``ttl``: how many of them the token will be valid."""

    role: Role
    subject: str
    desk: str
    expires: int
    ttl: int = DEFAULT_TTL


class Invitations(msgspec.Struct, forbid_unknown_fields=True):
    pending: dict[str, Pending] = {}
    """By the digest of the proof that is good for it."""

    def add(self, digest: str, invited: Pending, now: float) -> None:
        """Raises TooMany; NexusError when that digest waits already."""
        self.prune(now)
        if digest in self.pending:
            raise NexusError("this invitation waits already; make another")
        if sum(other.desk == invited.desk for other in self.pending.values()) >= MAX_PENDING:
            raise TooMany(f"{MAX_PENDING} invitations to {invited.desk} wait to be used, the most there can be")
        self.pending[digest] = invited

    def find(self, digest: str, now: float) -> Pending | None:
        found = self.pending.get(digest)
        return found if found is not None and now < found.expires else None

    def withdraw(self, name: str) -> int:
        """Forget all invitations for that subject and to the desk of that name; how many there were."""
        kept = {digest: it for digest, it in self.pending.items() if name not in (it.subject, it.desk)}
        gone = len(self.pending) - len(kept)
        self.pending = kept
        return gone

    def prune(self, now: float) -> None:
        self.pending = {digest: it for digest, it in self.pending.items() if now < it.expires}
