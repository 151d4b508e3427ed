"""An invitation: one line of text with a one-time secret, by which an agent or an operator joins without copying keys.

No I/O. From the secret two proofs are derived, and neither tells the other: one that the relay takes for a token, one
that the agent takes for the right to be let in. The relay keeps a digest of its proof; the agent's proof travels inside
the sealed link only. So the relay never learns what would let its owner in.

    nexus://relay.example/join/agent/office/SECRET              made by the relay, for the agent of a new desk
    nexus://relay.example/join/operator/office/KEY/SECRET       made by the agent, for an operator; KEY pins the agent

``nexus`` stands for wss, ``nexus+ws`` for ws. Nothing in a link means anything to a shell, but for the brackets of an
IPv6 address.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

import msgspec

from .errors import UsageError
from .fingerprint import Fingerprint
from .vocabulary import Name

SECRET_BYTES = 16
_SCHEMES = {"nexus": "wss", "nexus+ws": "ws"}
_LINK = re.compile(
    r"(?P<scheme>nexus(?:\+ws)?)://(?P<place>[A-Za-z0-9._~:%\[\]/-]+?)/join/"
    r"(?:agent|operator)/(?P<desk>[^/]+)/(?:(?P<key>[A-Za-z0-9_-]{43})/)?(?P<secret>[A-Za-z0-9_-]{22})"
)
_HOW = "paste the whole line that `invite` printed"


class Secret(bytes):
    """What makes an invitation worth something. As text it is only in the link."""

    @classmethod
    def new(cls) -> Secret:
        return cls(secrets.token_bytes(SECRET_BYTES))

    def __repr__(self) -> str:
        return "<the secret of an invitation>"

    __str__ = __repr__

    @property
    def relay_proof(self) -> bytes:
        """What the relay takes, once: 32 bytes."""
        return self._proof(b"relay")

    @property
    def agent_proof(self) -> bytes:
        """What the agent takes, once, inside the sealed link: 32 bytes."""
        return self._proof(b"agent")

    def _proof(self, whom: bytes) -> bytes:
        return hmac.digest(self, b"nexus invitation: " + whom, "sha256")


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a link says. ``agent_key`` pins the agent; None in an invitation for an agent."""

    relay: str
    """The relay's address, ``wss://…`` or ``ws://…``."""
    desk: str
    secret: Secret
    agent_key: Fingerprint | None = None

    @property
    def for_agent(self) -> bool:
        return self.agent_key is None

    def link(self) -> str:
        """The text that `parse` reads."""
        scheme, _, place = self.relay.partition("://")
        short = {long: short for short, long in _SCHEMES.items()}[scheme]
        words = ["operator", self.desk, _text(self.agent_key)] if self.agent_key else ["agent", self.desk]
        return "/".join([f"{short}://{place.rstrip('/')}", "join", *words, _text(self.secret)])

    @classmethod
    def parse(cls, text: str) -> Invitation:
        """Raises UsageError, which never quotes the text."""
        words = text.replace("'", " ").replace('"', " ").split()
        if len(words) == 3 and words[1] == "join":  # the whole line, or as it was quoted for a shell
            words = words[2:]
        match = _LINK.fullmatch(words[0]) if len(words) == 1 else None
        if match is None:
            known = len(words) == 1 and words[0].startswith(("nexus://", "nexus+ws://")) and "/join/" in words[0]
            raise UsageError(f"that is {'not the whole of' if known else 'not'} an invitation; {_HOW}")
        if ("/join/operator/" in text) != bool(match["key"]) or "/join/" in match["place"]:  # half of one, or two
            raise UsageError(f"that is not the whole of an invitation; {_HOW}")
        try:
            desk = msgspec.convert(match["desk"], Name)
            secret = Secret(_bytes(match["secret"]))
            key = Fingerprint(_bytes(match["key"])) if match["key"] else None
        except (msgspec.ValidationError, binascii.Error):
            raise UsageError(f"that is not an invitation; {_HOW}") from None
        return cls(f"{_SCHEMES[match['scheme']]}://{match['place']}", desk, secret, key)


def digest(proof: bytes) -> str:
    """What is kept of a proof until somebody shows it: SHA-256, in hexadecimal."""
    return hashlib.sha256(proof).hexdigest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
