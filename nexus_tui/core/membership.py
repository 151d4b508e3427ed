"""What makes this operator somebody at a relay: its address, a token, a key of one's own, the keys of known desks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from nexus_protocol.errors import NexusError
from nexus_protocol.identity import Identity
from nexus_protocol.records import Records
from nexus_protocol.settings import RelayToken
from nexus_protocol.vocabulary import Name

from .known_desks import KnownDesks, readable


class _Unused(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    relay: Annotated[str, Meta(max_length=512)]
    desk: Name
    proof: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Invitations:
    """Proofs of invitations that no desk has seen yet: shown at first contact, and forgotten once they are used."""

    def __init__(self, folder: Path, relay: str) -> None:
        self._records = Records(folder / "invitations", _Unused, "invitation", "Secret, and good for one use each.")
        self._relay = relay

    def proof_for(self, desk: str) -> bytes:
        """The proof to show that desk; empty when there is none. Raises UsageError when the file cannot be used."""
        found = (u.proof for u in self._records.read() if (u.relay, u.desk) == (self._relay, desk))
        return bytes.fromhex(next(found, ""))

    def keep(self, desk: str, proof: bytes) -> None:
        """Show that desk this proof, in place of any other; empty: none. Raises NexusError when it cannot be kept."""
        new = [readable(_Unused(self._relay, desk, proof.hex()))] if proof else []
        with self._records.changing() as records:
            records[:] = [u for u in records if (u.relay, u.desk) != (self._relay, desk)] + new

    def used(self, desk: str) -> None:
        """Forget what was for that desk; a file that cannot be written keeps what is worth nothing any more."""
        with contextlib.suppress(NexusError):
            if self.proof_for(desk):
                self.keep(desk, b"")


@dataclass(frozen=True)
class Membership:
    url: str
    token: RelayToken
    identity: Identity
    known: KnownDesks
    invitations: Invitations

    @classmethod
    def of(cls, folder: Path, url: str, token: RelayToken) -> Membership:
        """With what a state folder keeps; a key is made there when there is none. Raises UsageError."""
        return cls(url, token, Identity.of(folder), KnownDesks(folder, url), Invitations(folder, url))
