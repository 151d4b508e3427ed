"""Who a connection speaks for and which desks it may reach; how that is proven is left to tokens.py."""

from __future__ import annotations

from dataclasses import dataclass

from nexus_protocol.vocabulary import Role

ALL_DESKS = "*"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says once it has been checked. An agent has exactly one desk: the one it serves."""

    subject: str
    role: Role
    desks: tuple[str, ...]
    expires: int
    """Seconds since the epoch."""
    token_id: str

    @property
    def desk(self) -> str:
        """The desk that an agent serves."""
        return self.desks[0]

    def reaches(self, desk: str) -> bool:
        return ALL_DESKS in self.desks or desk in self.desks
