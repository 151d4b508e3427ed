"""Who a connection speaks for and which desks it may reach; how that is proven is left to tokens.py."""

from __future__ import annotations

from dataclasses import dataclass

from nexus_protocol.relay_messages import TOKEN_SECONDS
from nexus_protocol.vocabulary import Role

ALL_DESKS = "*"
DEFAULT_TTL = TOKEN_SECONDS
MAX_TTL = 3650 * 24 * 3600
LEEWAY = 10
"""Seconds that the clocks of two machines may differ."""
_SHORTEST_RENEWED = 60
"""Seconds: a token that was made for less is meant to end."""


def union(desks: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    """The desks of both, as a token names them: as they are when ``more`` adds none, else each once and sorted."""
    if set(more) <= set(desks):
        return desks
    both = {*desks, *more}
    return (ALL_DESKS,) if ALL_DESKS in both else tuple(sorted(both))


def family_of(token_id: str) -> str:
    """The first token of the line of renewals that this one belongs to: what stands before the dot."""
    return token_id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says once it has been checked. An agent has exactly one desk: the one it serves.

    Times are seconds since the epoch.
    """

    subject: str
    role: Role
    desks: tuple[str, ...]
    issued: int
    expires: int
    token_id: str
    key_id: str = ""
    """The key that signed it."""

    @property
    def desk(self) -> str:
        """The desk that an agent serves."""
        return self.desks[0]

    @property
    def family(self) -> str:
        return family_of(self.token_id)

    @property
    def lifetime(self) -> int:
        """Seconds."""
        return self.expires - self.issued

    @property
    def is_renewed(self) -> bool:
        """Whether there is ever another in place of it."""
        return self.lifetime >= _SHORTEST_RENEWED

    def reaches(self, desk: str) -> bool:
        return ALL_DESKS in self.desks or desk in self.desks
