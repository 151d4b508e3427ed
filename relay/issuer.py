"""Everything about tokens that is kept: the keys, what was made and taken back, the invitations that wait.

The files are the truth and this object its newest reading, so that a command and a running relay agree: every change
is made to what the files say now, under their lock, and written before it counts. Checking a token reads no file.
All of this may be called from any thread; what writes may wait for the disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from nexus_protocol import invitation
from nexus_protocol.errors import NexusError, Unauthorized, UsageError
from nexus_protocol.vocabulary import Role

from . import tokens
from .claims import DEFAULT_TTL, LEEWAY, Claims, union
from .invitations import Invitations, Pending
from .keyring import Keyring, key_id
from .ledger import Family, FamilyState, Ledger
from .store import Stamp, Store

KEYS, LEDGER, INVITATIONS = "relay.key", "tokens.json", "invitations.json"
T = TypeVar("T")

_NOT_KNOWN = "this invitation is not known here: it has been used, has expired, or was never made; ask for a new one"


class Listed(NamedTuple):
    """A line of `nexus-relay tokens`."""

    token_id: str
    family: Family
    state: FamilyState


class Revoked(NamedTuple):
    """What was taken back: the family, if it was made here; families and waiting invitations, by number."""

    family: Family | None
    families: int
    invitations: int


class Rotated(NamedTuple):
    """Until when the key before is accepted, in seconds since the epoch; whether an older one was given up for it."""

    until: int
    gave_up: bool


class _Reading(NamedTuple):
    """What the files said; ``stamps`` tells whether they still do."""

    keys: Keyring
    ledger: Ledger
    stamps: tuple[Stamp, ...]

    def check(self, claims: Claims, now: float) -> None:
        """Raises Unauthorized for claims that are worth nothing any more."""
        if self.ledger.is_revoked(claims):
            raise Unauthorized("the token has been revoked; ask for a new one")
        if now >= self.keys.ends(claims.key_id):
            raise Unauthorized("the token was signed with a key that this relay no longer takes; ask for a new one")
        if now >= claims.expires + LEEWAY:
            raise Unauthorized("the token has expired")


class Issuer:
    """The issuer of tokens of one state folder; made with `create` or `load`."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self.clock = clock
        self._reading = self._read()
        self._taking = threading.Lock()

    @classmethod
    def create(cls, folder: Path, *, clock: Callable[[], float] = time.time) -> Issuer:
        """Make the key that signs tokens if there is none. Raises NexusError."""
        store = Store(folder)
        with store.alone():
            if not store.has(KEYS):
                store.write(KEYS, Keyring.new().text())
        return cls(store, clock)

    @classmethod
    def load(cls, folder: Path, *, clock: Callable[[], float] = time.time) -> Issuer:
        """Raises UsageError when there is no key, or a file that cannot be used."""
        return cls(Store(folder), clock)

    def refresh(self) -> object:
        """Read what others have written since; something that is another thing after every change, whoever made it.

        Raises UsageError for files that cannot be used, and goes by what it knew.
        """
        known = self._reading
        if known.stamps != self._stamps():
            found = self._read()
            with self._taking:
                # A change of our own in the meantime may be newer than what was found: the next look tells.
                if self._reading is known:
                    self._reading = found
        return self._reading.stamps

    # Tokens

    def mint(
        self, role: Role, subject: str, desks: Iterable[str], *, ttl: int = DEFAULT_TTL, now: float | None = None
    ) -> str:
        """A new token. Raises UsageError for claims that cannot be, NexusError when no record of it can be kept."""
        with self._store.alone():
            return self._issue(role, subject, tuple(desks), ttl=ttl, now=self.clock() if now is None else now)

    def verify(self, token: str) -> Claims:
        """Raises Unauthorized, which says what is wrong and what to do, and never quotes the token."""
        claims = tokens.verify(self._reading.keys, token, now=self.clock())
        self.check(claims)
        return claims

    def check(self, claims: Claims) -> None:
        """Claims that were verified once may be worth nothing by now. Raises Unauthorized, saying why."""
        self._reading.check(claims, self.clock())

    def ends(self, claims: Claims) -> float:
        """When `check` will refuse these claims, as things are now. Seconds since the epoch."""
        return min(claims.expires + LEEWAY, self._reading.keys.ends(claims.key_id))

    def signs_with(self, key_id: str) -> bool:
        return self._reading.keys.ends(key_id) == float("inf")

    def renew(self, claims: Claims) -> str:
        """The same for as long again, in the same family. Raises Unauthorized when taken back, NexusError."""
        with self._store.alone():
            now = self.clock()
            self._read().check(claims, now)
            return self._issue(
                claims.role, claims.subject, claims.desks, ttl=claims.lifetime, now=now, family=claims.family
            )

    def listed(self) -> list[Listed]:
        """Every family that is remembered, the oldest first."""
        keys, ledger, now = self._reading.keys, self._reading.ledger, self.clock()
        lines = []
        for name, family in ledger.families.items():
            state = ledger.state(name, now)
            if state is FamilyState.VALID and now >= keys.ends(family.key_id):
                state = FamilyState.EXPIRED
            lines.append(Listed(name, family, state))
        return sorted(lines, key=lambda line: (line.family.made, line.token_id))

    # Taking back

    def revoke(self, token_id: str) -> Revoked:
        """The whole family of that token, whether it was made here or not. Raises NexusError."""
        with self._store.alone():
            fresh = self._read()
            family = fresh.ledger.revoke(token_id, int(self.clock()))
            self._keep(fresh)
            is_agent = family is not None and family.role is Role.AGENT
            return Revoked(family, 1, self._withdraw(family.desks[0]) if family is not None and is_agent else 0)

    def revoke_subject(self, subject: str) -> Revoked:
        """All tokens of that subject made until now, those made with an invitation for it, and those that wait for it.

        Raises NexusError.
        """
        with self._store.alone():
            fresh = self._read()
            ended = fresh.ledger.revoke_subject(subject, int(self.clock()))
            self._keep(fresh)
            return Revoked(None, ended, self._withdraw(subject))

    def rotate(self, keep: int) -> Rotated:
        """A new key signs; the one before is accepted for ``keep`` seconds more, if at all. Raises NexusError."""
        with self._store.alone():
            keys, now = self._read().keys, int(self.clock())
            rotated = keys.rotated(keep, now)
            self._store.write(KEYS, rotated.text())
            self._take(self._read())
            return Rotated(rotated.before_until, keys.before is not None and now < keys.before_until)

    # Invitations

    def invite(
        self, digest: str, role: Role, subject: str, desk: str, seconds: int, *,
        ttl: int = DEFAULT_TTL, by: Claims | None = None,
    ) -> int:  # fmt: skip
        """Take the proof with that digest, once, for a token of ``ttl``; until when, in seconds since the epoch.

        ``by``: the agent that asks for it; else it is the relay's own operator. Raises UsageError for a token that
        cannot be, Unauthorized when the agent may ask for nothing any more, TooMany, NexusError.
        """
        now = self.clock()
        tokens.new_claims(role, subject, [desk], ttl=ttl, now=now)
        expires = int(now) + seconds
        with self._store.alone():
            if by is not None:
                self._read().check(by, now)
            invitations = self._invitations()
            invitations.add(digest, Pending(role, subject, desk, expires, ttl), now)
            self._store.write(INVITATIONS, msgspec.json.encode(invitations))
        return expires

    def redeem(self, proof: bytes, held: Claims | None = None) -> str:
        """The token that an invitation is good for, once; with what ``held`` reaches, if that is of the same role.

        Then it is of the family of ``held``, and valid for no longer than that was made for. Raises Unauthorized, with
        the same words for an invitation that was used, has expired or never was; NexusError.
        """
        digest, now = invitation.digest(proof), self.clock()
        with self._store.alone():
            invitations = self._invitations()
            invited = invitations.find(digest, now)
            if invited is None:
                raise Unauthorized(_NOT_KNOWN)
            if held is not None:
                self._read().check(held, now)
            # The token first: should the disk be full between the two, the invitation is still good.
            token = self._joined(invited, held, now)
            del invitations.pending[digest]
            invitations.prune(now)
            self._store.write(INVITATIONS, msgspec.json.encode(invitations))
            return token

    def _joined(self, invited: Pending, held: Claims | None, now: float) -> str:
        """Only while alone. Raises Unauthorized when the two do not go together."""
        if held is not None and held.role is not invited.role:
            raise Unauthorized(
                f"this invitation is for role {invited.role.value}, and you hold a token for role "
                f"{held.role.value} here; join with another state folder: --state-dir"
            )
        # An agent serves one desk, the one it is invited for now; and what is meant to end is not made to last.
        if held is None or held.role is Role.AGENT or not held.is_renewed:
            return self._issue(invited.role, invited.subject, (invited.desk,), ttl=invited.ttl, now=now)
        return self._issue(
            held.role, held.subject, union(held.desks, (invited.desk,)), ttl=min(invited.ttl, held.lifetime), now=now,
            family=held.family, invited_as=invited.subject,
        )  # fmt: skip

    # Files

    def _issue(
        self, role: Role, subject: str, desks: tuple[str, ...], *,
        ttl: int, now: float, family: str = "", invited_as: str = "",
    ) -> str:  # fmt: skip
        """Only while alone."""
        fresh = self._read()
        begins = fresh.ledger.first_issue(subject, int(now))
        claims = tokens.new_claims(role, subject, desks, ttl=ttl, now=begins, family=family)
        token = tokens.sign(fresh.keys.signing, claims)
        fresh.ledger.note(replace(claims, key_id=key_id(fresh.keys.signing)), int(self.clock()), invited_as)
        self._keep(fresh)
        return token

    def _keep(self, fresh: _Reading) -> None:
        """Write the changed ledger; only while alone."""
        fresh.ledger.prune(int(self.clock()))
        self._store.write(LEDGER, msgspec.json.encode(fresh.ledger))
        self._take(fresh._replace(stamps=self._stamps()))

    def _take(self, reading: _Reading) -> None:
        """Go by this from now on; only while alone, when nothing is newer."""
        with self._taking:
            self._reading = reading

    def _withdraw(self, name: str) -> int:
        invitations = self._invitations()
        gone = invitations.withdraw(name)
        if gone:
            self._store.write(INVITATIONS, msgspec.json.encode(invitations))
        return gone

    def _stamps(self) -> tuple[Stamp, ...]:
        return self._store.stamp(KEYS), self._store.stamp(LEDGER)

    def _read(self) -> _Reading:
        """As the files are now; nobody else has these objects yet. Raises UsageError, NexusError."""
        stamps = self._stamps()
        if not self._store.has(KEYS):
            raise UsageError(f"no relay key in {self._store.folder}; make one: nexus-relay init")
        try:
            keys = Keyring.parse(self._store.read(KEYS))
        except ValueError:
            path = self._store.folder / KEYS
            raise UsageError(
                f"{path} does not hold a relay key; restore it, or delete it and run: nexus-relay init"
            ) from None
        return _Reading(keys, self._json(LEDGER, Ledger), stamps)

    def _invitations(self) -> Invitations:
        return self._json(INVITATIONS, Invitations)

    def _json(self, name: str, kind: type[T]) -> T:
        """Raises NexusError."""
        try:
            text = self._store.read(name)
            return msgspec.json.decode(text, type=kind) if text else kind()
        except UsageError as error:
            raise NexusError(str(error)) from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            path = self._store.folder / name
            raise NexusError(f"{path} is damaged; restore it, or delete it and revoke again what it held") from None
