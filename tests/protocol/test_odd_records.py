"""Records that no honest end writes, sealed with the right keys: what a stranger can send after its handshake."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL

from nexus_protocol.identity import Identity
from nexus_protocol.link import Link
from nexus_protocol.messages import Bye, from_agent, to_agent
from nexus_protocol.relay_messages import MAX_PAYLOAD
from nexus_protocol.tunnel import Tunnel
from nexus_protocol.vocabulary import Role

HANDSHAKE, KEY_UPDATE = 22, b"\x18\x00\x00\x01\x00"
"""A record's inner type, and the message (RFC 8446, 4.6.3) with which an end changes its key."""


class Forger:
    """A TLS client that can seal any record: it has its library tell it the keys."""

    def __init__(self) -> None:
        identity, self._secret = Identity.new(), b""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        context.set_keylog_callback(self._log)
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self._sealed = 0

    def _log(self, _: SSL.Connection, line: bytes) -> None:
        label, _random, secret = line.decode().split()
        if label == "CLIENT_TRAFFIC_SECRET_0":
            self._secret = bytes.fromhex(secret)

    def shake_hands(self, link: Link[Any, Any]) -> None:
        for _ in range(2):
            with contextlib.suppress(SSL.WantReadError):
                self.tls.do_handshake()
            link.fed(self.tls.bio_read(MAX_PAYLOAD))
            while (payload := link.outgoing()) is not None:
                self.tls.bio_write(payload)

    def record(self, kind: int, body: bytes) -> bytes:
        """The next record (RFC 8446, 5.2 and 7.3)."""
        assert self.tls.get_cipher_name() == "TLS_AES_256_GCM_SHA384"
        nonce = bytes(a ^ b for a, b in zip(self._key(b"iv", 12), self._sealed.to_bytes(12, "big"), strict=True))
        inner = body + bytes([kind])
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        self._sealed += 1
        return header + AESGCM(self._key(b"key", 32)).encrypt(nonce, inner, header)

    def update(self) -> bytes:
        """A change of key, and the next key for what comes after it."""
        data = self.record(HANDSHAKE, KEY_UPDATE)
        self._secret, self._sealed = self._key(b"traffic upd", 48), 0
        return data

    def _key(self, label: bytes, size: int) -> bytes:
        name = b"tls13 " + label
        info = struct.pack("!HB", size, len(name)) + name + b"\0"
        return HKDFExpand(hashes.SHA384(), size, info).derive(self._secret)


def agents_end() -> tuple[Link[Any, Any], Forger, list[str]]:
    """An agent's link to a forger, sealed, and the words with which it hung up."""
    ends: list[str] = []
    link: Link[Any, Any] = Link(
        1, "mallory", Role.OPERATOR, tunnel=Tunnel(Identity.new(), opens=False), incoming=to_agent,
        outgoing=from_agent, wake=lambda _: None, hang_up=lambda _, code: ends.append(code),
    )  # fmt: skip
    forger = Forger()
    forger.shake_hands(link)
    return link, forger, ends


async def test_half_a_message_of_the_handshake_ends_its_link_and_nothing_else() -> None:
    """Nothing of ours may stand between its halves; the library refuses to seal, and that is this link's end."""
    link, forger, ends = agents_end()
    assert await link.secured()
    link.fed(forger.record(HANDSHAKE, KEY_UPDATE[:4]))
    link.send(Bye(code="unknown", reason="nobody knows you"))
    while link.outgoing() is not None:
        pass
    assert (link.closed, ends) == (True, ["tampered"])


async def test_a_stranger_cannot_keep_us_busy_with_what_opens_to_nothing() -> None:
    """What it may say is bounded in sealed bytes as well; an honest change of key is taken."""
    link, forger, ends = agents_end()
    link.fed(forger.update())
    assert not link.closed
    for _ in range(5_000):
        link.fed(forger.update())
    assert ends == ["too-large"]
