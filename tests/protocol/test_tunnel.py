"""The sealed conversation: who is at the other end, what is seen on the way, and what it does not talk to."""

from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from nexus_protocol.errors import ProtocolError
from nexus_protocol.fingerprint import Fingerprint
from nexus_protocol.identity import Identity, fingerprint_of
from nexus_protocol.lanes import MAX_FRAGMENT
from nexus_protocol.relay_messages import MAX_PAYLOAD
from nexus_protocol.tunnel import MAX_HANDSHAKE, MAX_RECORD, Tunnel

from .ends import ANNA, OFFICE, sealed, shake_hands

SECRET = b"correct horse battery staple"
VERSION_3, VERSION_8 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"
"""Of X.509, as it stands in a certificate."""


class Stranger:
    """A TLS end of anybody's making, that talks to a tunnel."""

    def __init__(self, adjust: Callable[[SSL.Context], None], *, opens: bool) -> None:
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        adjust(self.context)
        self.tls = SSL.Connection(self.context, None)
        (self.tls.set_connect_state if opens else self.tls.set_accept_state)()

    def talk(self, tunnel: Tunnel) -> None:
        """Until nothing is said any more. Raises what the tunnel raises."""
        moved = True
        while moved:
            moved = False
            with contextlib.suppress(SSL.Error):
                self.tls.do_handshake()
            try:
                while True:
                    data = self.tls.bio_read(MAX_PAYLOAD)
                    moved = True
                    tunnel.receive(data)
            except SSL.WantReadError:
                pass
            while (payload := tunnel.outgoing()) is not None:
                moved = True
                self.tls.bio_write(payload)


def of(identity: Identity) -> Callable[[SSL.Context], None]:
    def adjust(context: SSL.Context) -> None:
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)

    return adjust


def refusal(stranger: Stranger, *, opens: bool) -> ProtocolError:
    """What a tunnel says of a stranger, and it may not have found a peer in it."""
    tunnel = Tunnel(OFFICE, opens=opens)
    with pytest.raises(ProtocolError) as error:
        stranger.talk(tunnel)
    assert tunnel.peer is None
    return error.value


# -- who is there -----------------------------------------------------------------------------------------------


def test_both_sides_learn_the_others_fingerprint() -> None:
    """And say things to each other, both ways."""
    anna, office = sealed()
    assert anna.peer == OFFICE.fingerprint
    assert office.peer == ANNA.fingerprint
    assert office.receive(anna.seal(SECRET)) == SECRET
    assert anna.receive(office.seal(SECRET[::-1])) == SECRET[::-1]


def test_nobody_is_there_before_the_handshake_is_over() -> None:
    """Neither side has a peer while one proof is missing."""
    anna, office = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=False)
    assert (anna.peer, office.peer) == (None, None)
    office.receive(anna.outgoing() or b"")
    assert office.peer is None
    anna.receive(office.outgoing() or b"")
    assert (anna.peer, office.peer) == (OFFICE.fingerprint, None)


def test_whoever_sits_in_the_middle_is_seen_by_both() -> None:
    """A relay that ends the conversation on itself and starts another shows a key of its own to each side."""
    middle = Identity.new()
    anna, to_anna = Tunnel(ANNA, opens=True), Tunnel(middle, opens=False)
    to_office, office = Tunnel(middle, opens=True), Tunnel(OFFICE, opens=False)
    shake_hands(anna, to_anna)
    shake_hands(to_office, office)
    assert anna.peer == office.peer == middle.fingerprint
    assert middle.fingerprint not in (ANNA.fingerprint, OFFICE.fingerprint)


def test_the_office_cannot_be_spoken_to_with_what_anna_once_said() -> None:
    """A recording of her whole handshake, played to the same desk later, finds nobody there."""
    anna, office = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=False)
    said = [anna.outgoing() or b""]
    office.receive(said[0])
    anna.receive(office.outgoing() or b"")
    said += [anna.outgoing() or b"", anna.seal(SECRET)]
    assert office.receive(said[1] + said[2]) == SECRET
    again = Tunnel(OFFICE, opens=False)
    again.receive(said[0])
    with pytest.raises(ProtocolError) as error:
        again.receive(said[1])
    assert error.value.code == "handshake"
    assert again.peer is None


def test_no_session_is_resumed(tmp_path: Path) -> None:
    """Each link proves both keys anew, whatever the other side has kept of an earlier one."""
    path = tmp_path / "anna"
    path.write_bytes(ANNA.pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(path)
    session: ssl.SSLSession | None = None
    for _ in range(2):
        office = Tunnel(OFFICE, opens=False)
        heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
        anna = context.wrap_bio(heard, said, session=session)
        while office.peer is None:
            with contextlib.suppress(ssl.SSLWantReadError):
                anna.do_handshake()
            office.receive(said.read())
            while (payload := office.outgoing()) is not None:
                heard.write(payload)
        with pytest.raises(ssl.SSLWantReadError):
            anna.read(1)  # takes in what came after the handshake
        assert office.peer == ANNA.fingerprint
        assert not anna.session_reused
        session = anna.session
        assert session is not None


# -- what is seen on the way ------------------------------------------------------------------------------------


def test_nothing_is_plain_on_the_wire() -> None:
    """Neither what is said nor who says it: no text, no certificate, no key of either side."""
    anna, office = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=False)
    wire = b"".join(shake_hands(anna, office))
    for tunnel in (anna, office):
        wire += tunnel.seal(SECRET) + tunnel.seal(SECRET)
        tunnel.finish()
        wire += tunnel.outgoing() or b""
    assert SECRET not in wire
    for identity in (ANNA, OFFICE):
        key = identity.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        assert bytes(identity.fingerprint) not in wire
        assert key not in wire


def test_the_same_words_are_never_sealed_the_same() -> None:
    """Nobody on the way learns that something was said again."""
    anna, _ = sealed()
    assert len({anna.seal(SECRET) for _ in range(10)}) == 10


def test_a_fragment_fills_one_record_and_one_frame() -> None:
    """Sealing adds 22 bytes to the largest fragment, once."""
    anna, office = sealed()
    fragment = bytes(MAX_FRAGMENT + 4)
    assert len(fragment) == MAX_RECORD
    payload = anna.seal(fragment)
    assert len(payload) == MAX_RECORD + 22 <= MAX_PAYLOAD
    assert anna.outgoing() is None
    assert office.receive(payload) == fragment


def test_the_bytes_may_come_in_any_pieces() -> None:
    """One by one, handshake and all."""
    anna, office = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=False)
    for _ in range(2):
        for sender, receiver in ((anna, office), (office, anna)):
            while (payload := sender.outgoing()) is not None:
                for byte in payload:
                    assert receiver.receive(bytes((byte,))) == b""
    heard = [office.receive(bytes((byte,))) for byte in anna.seal(SECRET)]
    assert b"".join(heard) == SECRET


def test_the_end_of_a_conversation_is_said() -> None:
    """Who finishes says so, sealed; the other side then knows that nothing is missing, and may still speak."""
    anna, office = sealed()
    last = anna.seal(SECRET)
    anna.finish()
    goodbye = anna.outgoing() or b""
    assert office.receive(last) == SECRET
    assert not office.finished
    assert office.receive(goodbye) == b""
    assert office.finished
    assert anna.receive(office.seal(b"bye")) == b"bye"
    assert not anna.finished


def test_finishing_what_never_began_says_nothing() -> None:
    """No alert in clear, no error."""
    office = Tunnel(OFFICE, opens=False)
    office.finish()
    assert office.outgoing() is None


# -- whom it does not talk to -----------------------------------------------------------------------------------


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_1_VERSION])
def test_an_older_tls_is_refused(version: int, opens: bool) -> None:
    """Certificates would be in clear there, and records weaker."""

    def older(context: SSL.Context) -> None:
        of(ANNA)(context)
        context.set_max_proto_version(version)

    error = refusal(Stranger(older, opens=not opens), opens=opens)
    assert error.code == "handshake"
    assert "no sealed link" in str(error)


def test_a_peer_without_a_certificate_is_refused() -> None:
    """Nobody is let in for having no key at all."""
    error = refusal(Stranger(lambda _: None, opens=True), opens=False)
    assert error.code == "handshake"
    assert "certificate" in str(error)


def test_a_peer_that_is_another_kind_of_end_is_refused() -> None:
    """Two that open, or two that wait, never come to a link."""
    one, two = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=True)
    with pytest.raises(ProtocolError) as error:
        one.receive(two.outgoing() or b"")
    assert error.value.code == "handshake"


def certificate_of(key: Any, algorithm: Any) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anybody")])
    day = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + datetime.timedelta(days=1))
    return builder.sign(key, algorithm)


OTHER_KEYS: dict[str, tuple[Any, Any]] = {
    "expired": (ed25519.Ed25519PrivateKey.generate(), None),
    "EC": (ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()),
    "Ed448": (ed448.Ed448PrivateKey.generate(), None),
    "RSA": (rsa.generate_private_key(65537, 2048), hashes.SHA256()),
}


@pytest.mark.parametrize("kind", OTHER_KEYS)
def test_a_certificate_counts_for_its_key_only(kind: str) -> None:
    """Dates, names and issuers are nobody's business: what is pinned is the key, of whatever kind it is."""
    key, algorithm = OTHER_KEYS[kind]
    certificate = certificate_of(key, algorithm)

    def adjust(context: SSL.Context) -> None:
        context.use_certificate(certificate)
        context.use_privatekey(key)

    office = Tunnel(OFFICE, opens=False)
    Stranger(adjust, opens=True).talk(office)
    assert office.peer == fingerprint_of(certificate)


def test_a_certificate_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """OpenSSL takes a version of X.509 that does not exist; here it is an error like any other."""
    good = ANNA.certificate.public_bytes(serialization.Encoding.DER)
    bad = good.replace(VERSION_3, VERSION_8, 1)
    assert bad != good
    path = tmp_path / "certificate"
    path.write_text(ssl.DER_cert_to_PEM_cert(bad))

    def adjust(context: SSL.Context) -> None:
        context.use_certificate_file(str(path))
        context.use_privatekey(ANNA.key)

    error = refusal(Stranger(adjust, opens=True), opens=False)
    assert (error.code, "certificate" in str(error)) == ("handshake", True)


def test_a_handshake_that_never_ends_is_cut() -> None:
    """A message announced as long as can be costs MAX_HANDSHAKE bytes, and no more."""
    office = Tunnel(OFFICE, opens=False)
    office.receive(b"\x16\x03\x01\x40\x00\x01\x01\xff\xff" + bytes(MAX_RECORD - 4))
    record = b"\x16\x03\x01\x40\x00" + bytes(MAX_RECORD)
    for _ in range(2):
        office.receive(record)
    with pytest.raises(ProtocolError, match=f"{MAX_HANDSHAKE:,} bytes") as error:
        office.receive(record)
    assert error.value.code == "handshake"


def test_an_error_says_what_happened_and_nothing_that_was_said() -> None:
    """It is shown to people and stands in logs."""
    anna, office = sealed()
    payload = anna.seal(SECRET)
    with pytest.raises(ProtocolError) as error:
        office.receive(payload[:-1] + bytes((payload[-1] ^ 1,)))
    assert error.value.code == "tampered"
    assert str(error.value).startswith("what came is not what the other side sent")
    assert "horse" not in str(error.value)
    assert isinstance(office.peer, Fingerprint)
