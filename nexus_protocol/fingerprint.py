"""What a key is called: the SHA-256 of a public key, as ssh writes it, and in words that can be read aloud."""

from __future__ import annotations

import base64
import binascii
from typing import ClassVar

from .errors import UsageError

SIZE = 32
SPOKEN = 10
"""Bytes of a fingerprint that its words tell: 80 bits, five words."""
_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"


class Fingerprint(bytes):
    """The SHA-256 of a key's SubjectPublicKeyInfo (RFC 5280); as text ``SHA256:`` and base64, as ssh writes it."""

    PREFIX: ClassVar = "SHA256:"

    def __new__(cls, digest: bytes) -> Fingerprint:
        if len(digest) != SIZE:
            raise ValueError(f"a fingerprint is {SIZE} bytes")
        return super().__new__(cls, digest)

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """The reverse of ``str``. Raises UsageError."""
        data = text.strip().removeprefix(cls.PREFIX)
        try:
            digest = base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        if not text.strip().startswith(cls.PREFIX) or len(digest) != SIZE or str(cls(digest)) != text.strip():
            raise UsageError(f"{text!r} is not a key's fingerprint; one looks like {cls.PREFIX} and 43 characters")
        return cls(digest)

    @property
    def words(self) -> str:
        """The first 80 bits as five proquints (arXiv:0901.4016): ``lusab-babad-…``. To compare by ear; never a pin."""
        return "-".join(_word(int.from_bytes(self[at : at + 2], "big")) for at in range(0, SPOKEN, 2))

    def __str__(self) -> str:
        return self.PREFIX + base64.b64encode(self).rstrip(b"=").decode("ascii")

    def __repr__(self) -> str:
        return f"<{self}>"


def _word(number: int) -> str:
    """16 bits as consonant, vowel, consonant, vowel, consonant: 4 + 2 + 4 + 2 + 4 bits."""
    return (
        _CONSONANTS[number >> 12]
        + _VOWELS[number >> 10 & 3]
        + _CONSONANTS[number >> 6 & 15]
        + _VOWELS[number >> 4 & 3]
        + _CONSONANTS[number & 15]
    )
