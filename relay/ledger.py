"""What the relay remembers of tokens: which it made, and which of them are taken back. Never a token itself. No I/O.

A token and what it was renewed to are one family, named after its first token, and taken back as one.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from nexus_protocol.errors import NexusError
from nexus_protocol.vocabulary import Role

from .claims import LEEWAY, MAX_TTL, Claims, family_of

KEEP_EXPIRED = 7 * 24 * 3600
"""Seconds for which a family that has expired is still listed."""
MAX_FAMILIES = 20_000


class FamilyState(StrEnum):
    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``made``: when its first token was; ``expires``: when its last token does. Seconds since the epoch.

    ``key_id``: the key that signed the last.
    """

    subject: str
    role: Role
    desks: tuple[str, ...]
    made: int
    expires: int
    key_id: str


class Ledger(msgspec.Struct, forbid_unknown_fields=True):
    families: dict[str, Family] = {}
    revoked: dict[str, int] = {}
    """Families taken back, each with when that can be forgotten."""
    subjects: dict[str, int] = {}
    """For a subject, when all its tokens were taken back: those issued until then are worth nothing."""

    def is_revoked(self, claims: Claims) -> bool:
        return claims.family in self.revoked or claims.issued <= self.subjects.get(claims.subject, -1)

    def first_issue(self, subject: str, now: int) -> int:
        """From when a token made now is to be valid, so that what took back those before does not meet it too."""
        return max(now, self.subjects.get(subject, -1) + 1)

    def note(self, claims: Claims, now: int) -> None:
        """A token was made. Raises NexusError when that is more than can be remembered."""
        before = self.families.get(claims.family)
        self.families[claims.family] = Family(
            claims.subject, claims.role, claims.desks, before.made if before else claims.issued,
            max(before.expires if before else 0, claims.expires), claims.key_id,
        )  # fmt: skip
        if len(self.families) > MAX_FAMILIES:
            self.prune(now, keep_expired=LEEWAY)
        if len(self.families) > MAX_FAMILIES:
            raise NexusError(f"this relay remembers {MAX_FAMILIES:,} tokens, the most it can; revoke, or come later")

    def revoke(self, token_id: str, now: int) -> Family | None:
        """Take back the whole family of that token; the family, or None when none such was made here."""
        family = self.families.get(name := family_of(token_id))
        self.revoked[name] = (family.expires if family else now + MAX_TTL) + LEEWAY
        return family

    def revoke_subject(self, subject: str, now: int) -> int:
        """Take back all tokens of a subject that were made until now; how many families that ends."""
        ended = [
            name for name, family in self.families.items()
            if family.subject == subject and self.state(name, now) is FamilyState.VALID
        ]  # fmt: skip
        # A token made in the second of the last revocation is dated one later (see first_issue), so that second too.
        self.subjects[subject] = self.first_issue(subject, now)
        return len(ended)

    def state(self, name: str, now: float) -> FamilyState:
        family = self.families[name]
        if name in self.revoked or family.made <= self.subjects.get(family.subject, -1):
            return FamilyState.REVOKED
        return FamilyState.VALID if now < family.expires + LEEWAY else FamilyState.EXPIRED

    def prune(self, now: int, *, keep_expired: int = KEEP_EXPIRED) -> None:
        """Forget what can matter to nobody any more."""
        self.families = {name: it for name, it in self.families.items() if now < it.expires + keep_expired}
        self.revoked = {name: until for name, until in self.revoked.items() if now < until or name in self.families}
        self.subjects = {name: when for name, when in self.subjects.items() if now < when + MAX_TTL + LEEWAY}
