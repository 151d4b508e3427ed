"""The sealed conversation: TLS 1.3 between the two ends of a link, whatever carries its bytes.

Sans-I/O: sealed bytes in, plain ones out, and the other way round. Both ends show a certificate and prove that they
hold its key; whether it is the right key is the caller's to say (`peer`), before it looks at a byte of what was said.
Cryptography is OpenSSL's, as it comes: no session is resumed, and nothing is said before the handshake is over.
"""

from __future__ import annotations

import functools

from OpenSSL import SSL

from .errors import ProtocolError
from .fingerprint import Fingerprint
from .identity import UNREADABLE, Identity, fingerprint_of
from .relay_messages import MAX_PAYLOAD

MAX_RECORD = 16 * 1024
"""Bytes of plain text in one TLS record (RFC 8446, 5.1)."""
MAX_HANDSHAKE = 64 * 1024
"""Bytes taken in before the handshake is over: it needs about four thousand."""


class Tunnel:
    """One end. The one that opens the link is the TLS client.

    Every failure is a ProtocolError, after which the tunnel is of no more use: ``handshake`` while there is no sealed
    link yet, ``tampered`` when what came is not what the other end sent, or not in that order.
    """

    def __init__(self, identity: Identity, *, opens: bool) -> None:
        self._tls = SSL.Connection(_context(identity), None)
        self._peer: Fingerprint | None = None
        self._read = 0
        self.finished = False
        """The other end has said, sealed, that it says no more."""
        if opens:
            self._tls.set_connect_state()
            self._shake_hands()
        else:
            self._tls.set_accept_state()

    @property
    def peer(self) -> Fingerprint | None:
        """Whose key the other end holds; None until the handshake is over."""
        return self._peer

    def receive(self, data: bytes) -> bytes:
        """Sealed bytes from the other end; returns what they open to. Raises ProtocolError."""
        plain = bytearray()
        try:
            if data:
                self._tls.bio_write(data)
            if self._peer is None:
                self._read += len(data)
                if self._read > MAX_HANDSHAKE:
                    raise ProtocolError("handshake", f"no sealed link after {MAX_HANDSHAKE:,} bytes of handshake")
                self._shake_hands()
            while self._peer is not None and not self.finished:
                plain += self._tls.recv(MAX_RECORD)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.finished = True
        except SSL.Error as error:
            raise self._failure(error) from None
        return bytes(plain)

    def seal(self, plain: bytes) -> bytes:
        """The sealed bytes of a few plain ones; only once there is a peer. Raises ProtocolError."""
        try:
            self._tls.sendall(plain)
        except SSL.Error as error:  # half a message of the other end's, say, in which nothing of ours may stand
            raise self._failure(error) from None
        return self.outgoing() or b""

    def outgoing(self) -> bytes | None:
        """Sealed bytes to send that nobody asked for: of the handshake, or an alert."""
        try:
            return self._tls.bio_read(MAX_PAYLOAD)
        except SSL.WantReadError:
            return None

    def finish(self) -> None:
        """Say that nothing more is said; the other end then knows that nothing was cut off."""
        try:
            if self._peer is not None:
                self._tls.shutdown()
        except SSL.Error:
            pass  # broken already: the other end will not be told, and finds out

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return
        try:
            certificate = self._tls.get_peer_certificate(as_cryptography=True)
            if certificate is None:
                raise ProtocolError("handshake", "the other side showed no certificate")
            self._peer = fingerprint_of(certificate)
        except UNREADABLE:  # OpenSSL takes certificates and keys that cryptography does not
            raise ProtocolError("handshake", "the other side showed a certificate that cannot be read") from None

    def _failure(self, error: SSL.Error) -> ProtocolError:
        if self._peer is None:
            return ProtocolError("handshake", f"no sealed link came about: {_reason(error)}")
        return ProtocolError(
            "tampered", f"what came is not what the other side sent, or not in its order: {_reason(error)}"
        )


@functools.lru_cache(maxsize=8)
def _context(identity: Identity) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.use_certificate(identity.certificate)
    context.use_privatekey(identity.key)
    # Nobody vouches for a certificate here. That its holder has the key is proven all the same; the pin does the rest.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    return context


def _reason(error: SSL.Error) -> str:
    """OpenSSL's words for it; they quote nothing that was sent."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return (queue[0][2] if queue and len(queue[0]) > 2 else "") or "the connection was cut"
