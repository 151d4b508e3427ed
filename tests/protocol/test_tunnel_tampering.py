"""A relay that does with sealed bytes what it likes: nothing but what was said, in its order, ever comes out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_protocol.errors import ProtocolError
from nexus_protocol.tunnel import MAX_RECORD, Tunnel

from .ends import ANNA, OFFICE, says, sealed, shake_hands

SAID = [b"click 10 20", b"type correct horse", b"\0" * 300, b"x", b"key enter"]
MORE = b"\x17\x03\x03\x40\x11" + bytes(MAX_RECORD + 17)
"""A record of the largest size: completes whatever an end may still be waiting for."""

Change = Callable[[list[bytes]], list[bytes]]
"""What a relay makes of the payloads of one direction."""


def flip(at: int, bit: int) -> Change:
    def change(payloads: list[bytes]) -> list[bytes]:
        data = bytearray(b"".join(payloads))
        data[at % len(data)] ^= 1 << bit
        return [bytes(data)]

    return change


def cut(at: int, length: int) -> Change:
    def change(payloads: list[bytes]) -> list[bytes]:
        data = b"".join(payloads)
        start = at % len(data)
        return [data[:start] + data[start + length :]]

    return change


def insert(at: int, foreign: bytes) -> Change:
    def change(payloads: list[bytes]) -> list[bytes]:
        data = b"".join(payloads)
        start = at % (len(data) + 1)
        return [data[:start] + foreign + data[start:]]

    return change


def drop(which: int) -> Change:
    return lambda payloads: [data for n, data in enumerate(payloads) if n != which % len(payloads)]


def duplicate(which: int, to: int) -> Change:
    def change(payloads: list[bytes]) -> list[bytes]:
        again = payloads[which % len(payloads)]
        start = to % (len(payloads) + 1)
        return [*payloads[:start], again, *payloads[start:]]

    return change


def swap(one: int, other: int) -> Change:
    def change(payloads: list[bytes]) -> list[bytes]:
        changed = list(payloads)
        a, b = one % len(changed), other % len(changed)
        changed[a], changed[b] = changed[b], changed[a]
        return changed

    return change


places = st.integers(0, 2**16)
changes = st.one_of(
    st.builds(flip, places, st.integers(0, 7)),
    st.builds(cut, places, st.integers(1, 400)),
    st.builds(insert, places, st.binary(min_size=1, max_size=60)),
    st.builds(drop, places),
    st.builds(duplicate, places, places),
    st.builds(swap, places, places),
)


def taken(tunnel: Tunnel, payloads: list[bytes]) -> tuple[bytes, str]:
    """What comes out of the payloads, and the code with which one of them was refused; after that none is given."""
    out = b""
    for payload in payloads:
        try:
            out += tunnel.receive(payload)
        except ProtocolError as error:
            return out, error.code
    return out, ""


@settings(max_examples=400)
@given(st.lists(changes, min_size=1, max_size=3))
def test_what_comes_out_is_what_was_said(made: list[Change]) -> None:
    """Flipped, cut, inserted, dropped, repeated or swapped: it comes out up to there, and then the tunnel is over."""
    anna, office = sealed()
    sent = [anna.seal(text) for text in SAID]
    arriving = sent
    for change in made:
        arriving = change(arriving)
        if not any(arriving):
            arriving = [b"\0"]
    whole, came = b"".join(sent), b"".join(arriving)
    out, code = taken(office, [*arriving, MORE, MORE])
    assert code == "tampered"
    assert b"".join(SAID).startswith(out)
    assert not office.finished
    if came == whole:
        assert out == b"".join(SAID)
    same = next((n for n, (a, b) in enumerate(zip(came, whole, strict=False)) if a != b), min(len(came), len(whole)))
    assert len(out) <= same


@pytest.mark.parametrize("number", range(len(SAID)))
def test_no_single_record_is_missed_repeated_or_moved(number: int) -> None:
    """Each of them, one by one: the record that comes in the wrong place is refused, not passed over."""
    for change in (drop(number), duplicate(number, number + 1), swap(number, number + 1)):
        anna, office = sealed()
        sent = [anna.seal(text) for text in SAID] + [anna.seal(b"last")]
        out, code = taken(office, change(sent))
        assert code == "tampered"
        assert b"".join(SAID).startswith(out)


def test_every_bit_of_a_record_counts() -> None:
    """Flip any one of them, and nothing comes out."""
    size = len(sealed()[0].seal(SAID[0]))
    for at in range(size):
        anna, office = sealed()
        (changed,) = flip(at, at % 8)([anna.seal(SAID[0])])
        assert taken(office, [changed, MORE]) == (b"", "tampered")


def test_what_one_side_said_cannot_be_said_to_it() -> None:
    """Nor on another link between the same two."""
    anna, office = sealed()
    record = anna.seal(SAID[0])
    assert taken(anna, [record]) == (b"", "tampered")
    _, other = sealed()
    assert taken(other, [record]) == (b"", "tampered")
    assert office.receive(record) == SAID[0]


def test_the_relay_cannot_end_a_conversation_in_the_name_of_a_side() -> None:
    """A goodbye in clear, as TLS has it before the handshake is over, is refused."""
    _, office = sealed()
    assert taken(office, [b"\x15\x03\x03\x00\x02\x01\x00"]) == (b"", "tampered")
    assert not office.finished


def test_what_was_cut_off_does_not_look_finished() -> None:
    """Without the sealed goodbye nobody has said that this was all."""
    anna, office = sealed()
    sent = [anna.seal(text) for text in SAID]
    assert taken(office, sent[:2]) == (b"".join(SAID[:2]), "")
    assert not office.finished


@settings(max_examples=300)
@given(st.integers(0, 3), changes)
def test_a_handshake_that_was_changed_finds_nobody_wrong(step: int, change: Change) -> None:
    """Change any of its flights: each side then refuses, goes on waiting, or has found the right key all the same.

    (The version that stands before a record in clear counts for nothing in TLS 1.3, and is nobody's to protect.)
    """
    anna, office = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=False)
    codes = set()
    for number in range(4):
        sender, receiver = (anna, office) if number % 2 == 0 else (office, anna)
        payloads = list(says(sender))
        out, code = taken(receiver, change(payloads) if number == step and payloads else payloads)
        assert out == b""
        codes.add(code)
    assert codes <= {"", "handshake", "tampered"}
    assert anna.peer in (None, OFFICE.fingerprint)
    assert office.peer in (None, ANNA.fingerprint)
    if anna.peer is not None and office.peer is not None and codes == {""}:
        assert taken(office, [anna.seal(SAID[0])])[0] in (SAID[0], b"")


@settings(max_examples=300)
@given(st.integers(0, 4), st.lists(st.binary(max_size=200), max_size=5), st.booleans())
def test_any_bytes_at_any_point_are_refused_or_waited_for(step: int, garbage: list[bytes], opens: bool) -> None:
    """They raise ProtocolError and nothing else, also after that, and nothing comes out."""
    anna, office = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=False)
    for number in range(step):
        sender, receiver = (anna, office) if number % 2 == 0 else (office, anna)
        for payload in says(sender):
            receiver.receive(payload)
    tunnel = anna if opens else office
    for data in [*garbage, MORE, b"", MORE]:
        out, code = taken(tunnel, [data])
        assert out == b""
        assert code in ("", "handshake", "tampered")
    tunnel.finish()
    assert all(says(tunnel))


def test_a_tunnel_that_was_tampered_with_opens_nothing_any_more() -> None:
    """Not even what the other side really said."""
    anna, office = sealed()
    assert taken(office, [MORE]) == (b"", "tampered")
    assert taken(office, [anna.seal(SAID[0])])[0] == b""
    office.finish()
    for payload in says(office):
        with pytest.raises(ProtocolError):
            anna.receive(payload)


def test_a_handshake_alone_says_nothing_wrong() -> None:
    """Untouched, it ends with a peer at both ends."""
    anna, office = Tunnel(ANNA, opens=True), Tunnel(OFFICE, opens=False)
    assert shake_hands(anna, office)
    assert (anna.peer, office.peer) == (OFFICE.fingerprint, ANNA.fingerprint)
