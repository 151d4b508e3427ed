"""The keys that sign tokens: one that signs, and for a while after a change the one before, which only verifies.

No I/O. As text: the signing key in hexadecimal, then, if there is one, the key before and when it ends.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

KEY_BYTES = 32
_MAX_TIME = 2**40


def key_id(key: bytes) -> str:
    """How a token names the key that signed it; tells nothing about the key."""
    return hashlib.sha256(b"nexus relay key: " + key).hexdigest()[:16]


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    signing: bytes
    before: bytes | None = None
    before_until: int = 0
    """Seconds since the epoch."""

    @classmethod
    def new(cls) -> Keyring:
        return cls(secrets.token_bytes(KEY_BYTES))

    def __repr__(self) -> str:
        return f"<Keyring {key_id(self.signing)}>"  # never a key

    def find(self, wanted: str, now: float) -> bytes | None:
        """The key of that id, if it is accepted now."""
        if wanted == key_id(self.signing):
            return self.signing
        if self.before is not None and now < self.before_until and wanted == key_id(self.before):
            return self.before
        return None

    def ends(self, wanted: str) -> float:
        """When the key of that id stops being accepted, in seconds since the epoch."""
        if wanted == key_id(self.signing):
            return float("inf")
        return self.before_until if self.before is not None and wanted == key_id(self.before) else 0

    def rotated(self, keep: int, now: int) -> Keyring:
        """A new key signs; this one's is accepted for ``keep`` seconds more, and the one before that no longer."""
        return Keyring(secrets.token_bytes(KEY_BYTES), self.signing, now + keep) if keep else Keyring.new()

    def text(self) -> bytes:
        lines = [self.signing.hex()]
        if self.before is not None:
            lines.append(f"{self.before.hex()} until {self.before_until}")
        return "".join(f"{line}\n" for line in lines).encode()

    @classmethod
    def parse(cls, text: bytes) -> Keyring:
        """Raises ValueError, which quotes nothing."""
        match [line.split() for line in text.decode("ascii").splitlines()]:
            case [[signing]]:
                return cls(_key(signing))
            case [[signing], [before, "until", until]] if until.isdecimal() and int(until[:14]) <= _MAX_TIME:
                return cls(_key(signing), _key(before), int(until))
        raise ValueError("not a relay's keys")


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if len(key) != KEY_BYTES:
        raise ValueError("not a relay's key")
    return key
