"""Who may have a connection: strangers make room for strangers, and nobody takes up all of it. No I/O.

A stranger is a connection that has not shown anything yet that is worth something. Whoever has is a guest, and counts
for its token, renewals included; those who came without one, to use an invitation, count as if they had one in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

C = TypeVar("C", bound=Hashable)
"""A connection."""


class NoRoom(Exception):
    """In words for people."""


class Room(Generic[C]):
    """Places for so many strangers and so many guests, of whom so many may have come with the same token."""

    def __init__(self, strangers: int, guests: int, of_token: int) -> None:
        self._most_strangers, self._most_guests, self._most_of_token = strangers, guests, of_token
        self._strangers: dict[C, None] = {}
        """The oldest first."""
        self._guests: dict[C, str] = {}
        """Each with the family of its token."""
        self._of_family: Counter[str] = Counter()

    def everybody(self) -> list[C]:
        return [*self._strangers, *self._guests]

    def arrive(self, connection: C) -> C | None:
        """A stranger; the one that has to go for it, if there are too many."""
        self._strangers[connection] = None
        if len(self._strangers) <= self._most_strangers:
            return None
        oldest = next(iter(self._strangers))
        del self._strangers[oldest]
        return oldest

    def admit(self, connection: C, family: str) -> None:
        """A stranger becomes a guest, if it is still here. Raises NoRoom."""
        if connection not in self._strangers:
            raise NoRoom("too many have come at once; try again later")
        if len(self._guests) >= self._most_guests:
            raise NoRoom("this relay has no room for another connection; try again later")
        if self._of_family[family] >= (most := self._most_of_token):
            whose = "with this token" if family else "that use invitations"
            raise NoRoom(f"there are {most} connections {whose}, the most there can be; close one, or try again later")
        del self._strangers[connection]
        self._guests[connection] = family
        self._of_family[family] += 1

    def dismiss(self, connection: C) -> C | None:
        """A guest that is refused after all is a stranger again; the one that has to go for it, as in `arrive`."""
        if connection not in self._guests:
            return None
        self.leave(connection)
        return self.arrive(connection)

    def leave(self, connection: C) -> None:
        """Calling it again changes nothing."""
        self._strangers.pop(connection, None)
        family = self._guests.pop(connection, None)
        if family is not None:
            self._of_family[family] -= 1
            if not self._of_family[family]:
                del self._of_family[family]
