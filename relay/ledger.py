"""What the relay remembers of tokens: which it made, and which of them are taken back. Never a token itself. No I/O.

A token, what it was renewed to and what invitations added to it are one family, named after its first token, and taken
back as one.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from nexus_protocol.errors import NexusError
from nexus_protocol.vocabulary import Role

from .claims import ALL_DESKS, LEEWAY, MAX_TTL, Claims, family_of, union

KEEP_EXPIRED = 7 * 24 * 3600
"""Seconds for which a family that has expired is still listed."""
MAX_FAMILIES = 20_000
MAX_OF_DESK = 1_024
"""Valid families of operators that name one desk: no agent fills the ledger with those it invites."""
MAX_NAMES = 64
"""Names by which one family was invited."""


class FamilyState(StrEnum):
    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``made``: when its first token was; ``expires``: when its last token does. Seconds since the epoch.

    ``desks``: all that its tokens reach; ``key_id``: the key that signed the last; ``invited_as``: other names by which
    invitations added to it. Whoever takes back one of those means this family too.
    """

    subject: str
    role: Role
    desks: tuple[str, ...]
    made: int
    expires: int
    key_id: str
    invited_as: tuple[str, ...] = ()


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

    def note(self, claims: Claims, now: int, invited_as: str = "") -> None:
        """A token was made, with an invitation by that name or none. Raises NexusError for more than can be kept."""
        before = self.families.get(claims.family)
        if before is None:
            self._make_room(claims, now)
            before = Family(claims.subject, claims.role, claims.desks, claims.issued, 0, "")
        names = {*before.invited_as, invited_as} - {"", claims.subject}
        if len(names) > MAX_NAMES:
            raise NexusError(f"{claims.subject} was invited by {MAX_NAMES} other names, the most there can be")
        self.families[claims.family] = Family(
            claims.subject, claims.role, union(before.desks, claims.desks), before.made,
            max(before.expires, claims.expires), claims.key_id, tuple(sorted(names)),
        )  # fmt: skip

    def _make_room(self, claims: Claims, now: int) -> None:
        """For one family more. Raises NexusError."""
        if claims.role is not Role.AGENT:  # an agent that is let in again must find room at its own desk
            for desk in set(claims.desks) - {ALL_DESKS}:
                if sum(self._counts_for(desk, name, now) for name in self.families) >= MAX_OF_DESK:
                    raise NexusError(f"{MAX_OF_DESK:,} tokens for {desk} are valid, the most there can be; revoke some")
        if len(self.families) >= MAX_FAMILIES:
            self.prune(now, keep_expired=LEEWAY, keep_revoked=False)
        if len(self.families) >= MAX_FAMILIES:
            raise NexusError(f"this relay remembers {MAX_FAMILIES:,} tokens, the most it can; revoke, or come later")

    def _counts_for(self, desk: str, name: str, now: int) -> bool:
        family = self.families[name]
        return desk in family.desks and family.role is not Role.AGENT and self.state(name, now) is FamilyState.VALID

    def revoke(self, token_id: str, now: int) -> Family | None:
        """Take back the whole family of that token; the family, or None when none such was made here."""
        family = self.families.get(name := family_of(token_id))
        self.revoked[name] = (family.expires if family else now + MAX_TTL) + LEEWAY
        return family

    def revoke_subject(self, subject: str, now: int) -> int:
        """Take back all tokens of a subject that were made until now; how many families that ends.

        Families that it was invited into by another's name go as a whole.
        """
        ended = [
            name for name, family in self.families.items()
            if subject in (family.subject, *family.invited_as) and self.state(name, now) is FamilyState.VALID
        ]  # fmt: skip
        for name in ended:
            if self.families[name].subject != subject:
                self.revoke(name, now)
        # A token made in the second of the last revocation is dated one later (see first_issue), so that second too.
        self.subjects[subject] = self.first_issue(subject, now)
        return len(ended)

    def state(self, name: str, now: float) -> FamilyState:
        family = self.families[name]
        if name in self.revoked or family.made <= self.subjects.get(family.subject, -1):
            return FamilyState.REVOKED
        return FamilyState.VALID if now < family.expires + LEEWAY else FamilyState.EXPIRED

    def prune(self, now: int, *, keep_expired: int = KEEP_EXPIRED, keep_revoked: bool = True) -> None:
        """Forget what can matter to nobody any more; if so, also what was taken back: that it was is kept apart."""
        self.families = {
            name: it for name, it in self.families.items()
            if now < it.expires + keep_expired and (keep_revoked or self.state(name, now) is not FamilyState.REVOKED)
        }  # fmt: skip
        self.revoked = {name: until for name, until in self.revoked.items() if now < until or name in self.families}
        self.subjects = {name: when for name, when in self.subjects.items() if now < when + MAX_TTL + LEEWAY}
