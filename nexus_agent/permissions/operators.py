"""Who may come to this desk: the operators its person let in, and the invitations that wait to be used.

``authorized_operators`` holds a key's fingerprint, the name and role that its holder has here, whether they may
approve, since when, and by whom. Names and roles of the relay count for nothing but to take rights away (`role_here`).
Both files may be changed while the agent runs: what they say holds from then on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from nexus_protocol.errors import NexusError, UsageError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.invitation import digest
from nexus_protocol.records import Records
from nexus_protocol.vocabulary import Name, Role

MAX_OPERATORS = 1_024
MAX_INVITATIONS = 64

_STRENGTH = (Role.VIEWER, Role.AUTOMATION, Role.OPERATOR)
_ABOUT_OPERATORS = """Who may come to this desk. A key is let in when its fingerprint stands here.
`nexus-agent operators` lists them, `nexus-agent revoke` removes one, `nexus-agent invite` lets another in."""
_ABOUT_INVITATIONS = "Invitations that were not used yet: digests of their secrets, which are nowhere else."

_Print = Annotated[str, Meta(pattern=r"^SHA256:[A-Za-z0-9+/]{43}\Z")]
MAX_LINE = 128
_Line = Annotated[str, Meta(max_length=MAX_LINE, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the list. ``by``: whose invitation, or whose approval."""

    name: Name
    role: Role
    fingerprint: _Print
    approver: bool
    since: _Line
    by: _Line

    @property
    def rights(self) -> tuple[str, Role, bool]:
        return self.name, self.role, self.approver

    def __post_init__(self) -> None:
        _check_line(self.name, self.role, self.approver)


class Invited(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An invitation that waits. ``digest`` is of the proof that its holder will show; ``expires`` in epoch seconds."""

    name: Name
    role: Role
    approver: bool
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    expires: Annotated[int, Meta(ge=0, le=2**40)]
    by: _Line

    def __post_init__(self) -> None:
        _check_line(self.name, self.role, self.approver)


class Removed(NamedTuple):
    """What `Operators.remove` took away: lines of the list, and how many invitations that waited."""

    operators: list[Operator]
    invitations: int


def _check_line(name: str, role: Role, approver: bool) -> None:
    """Raises ValueError for what neither the list nor an invitation can say."""
    if name in frozenset(Role):
        raise ValueError(f"{name!r} is a role, and nobody's name: policies could not tell them apart")
    check_rights(role, approver)


def check_rights(role: Role, approver: bool) -> None:
    """Raises ValueError for a role that comes to no desk, or a right that it cannot have."""
    if role not in _STRENGTH:
        raise ValueError(f"an {role} serves a desk and comes to none")
    if approver and role is Role.AUTOMATION:
        raise ValueError("automation never approves: it would wave its own actions through")


def role_here(ours: Role, relays: Role) -> Role:
    """The weaker of the role that we gave and the one that the relay's token names: the relay can only take away."""
    return min(ours, relays, key=lambda role: _STRENGTH.index(role) if role in _STRENGTH else -1)


class Operators:
    """The two files of a state folder. Everything raises UsageError when a file cannot be used."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known = Records(folder / "authorized_operators", Operator, "operator", _ABOUT_OPERATORS)
        self._invited = Records(folder / "invitations", Invited, "invitation", _ABOUT_INVITATIONS)

    def stamp(self) -> tuple[int, ...]:
        """Another one whenever the list of operators is another one."""
        return self._known.stamp()

    def all(self) -> tuple[Operator, ...]:
        return self._known.read()

    def find(self, fingerprint: Fingerprint) -> Operator | None:
        return next((known for known in self._known.read() if known.fingerprint == str(fingerprint)), None)

    def waiting(self) -> tuple[Invited, ...]:
        """The invitations that can still be used."""
        return tuple(invited for invited in self._invited.read() if invited.expires > self._clock())

    def named(self, name: str) -> bool:
        return any(known.name == name for known in self._known.read())

    def add(self, name: str, role: Role, fingerprint: Fingerprint, *, approver: bool, by: str) -> Operator:
        """Let a key in; what was said of it before no longer counts. Raises NexusError when there are too many."""
        since = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        new = Operator(name, role, str(fingerprint), approver, since, by)
        with self._known.changing() as records:
            records[:] = [known for known in records if known.fingerprint != new.fingerprint]
            if len(records) >= MAX_OPERATORS:
                raise NexusError(f"{MAX_OPERATORS:,} keys are let in here already; revoke some first")
            records.append(new)
        return new

    def remove(self, whom: str) -> Removed:
        """Take a name's keys, or one key, off the list, and the name's invitations away."""
        with self._invited.changing() as waiting:  # both at once, or one could come in between
            kept = [invited for invited in waiting if invited.name != whom]
            withdrawn = len(waiting) - len(kept)
            waiting[:] = kept
            with self._known.changing() as records:
                gone = [known for known in records if whom in (known.name, known.fingerprint)]
                records[:] = [known for known in records if known not in gone]
        return Removed(gone, withdrawn)

    def invite(self, name: str, role: Role, proof: bytes, *, approver: bool, expires: int, by: str) -> None:
        """Remember that whoever shows this proof in time is to be let in, once. Raises NexusError, UsageError."""
        try:
            new = Invited(name, role, approver, digest(proof), expires, by)
            new = msgspec.convert(msgspec.to_builtins(new), Invited)
        except ValueError as error:
            raise UsageError(f"cannot invite {name!r}: {error}") from None
        with self._invited.changing() as waiting:
            waiting[:] = [invited for invited in waiting if invited.expires > self._clock()]
            if len(waiting) >= MAX_INVITATIONS:
                raise NexusError(f"{MAX_INVITATIONS} invitations wait to be used already; let some expire first")
            waiting.append(new)

    def redeem(self, fingerprint: Fingerprint, proof: bytes) -> Operator | None:
        """Let in whoever shows the proof of an invitation that is still good; it is used up by that."""
        with self._invited.changing() as waiting:
            shown = digest(proof)
            found = next((invited for invited in waiting if invited.digest == shown), None)
            if found is None or found.expires <= self._clock():
                return None
            by = f"invitation of {found.by}"[:MAX_LINE]
            added = self.add(found.name, found.role, fingerprint, approver=found.approver, by=by)
            waiting.remove(found)  # last: what goes wrong before leaves it good
            return added
