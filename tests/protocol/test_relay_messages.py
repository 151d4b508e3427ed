"""What the relay and a program say: binary frames, and the bounds of what stands in messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol.errors import ProtocolError
from nexus_protocol.relay_messages import (
    MAX_INVITATION,
    MAX_PAYLOAD,
    Invite,
    Invited,
    Joined,
    NotInvited,
    Renewed,
    from_invite,
    from_join,
    from_relay,
    pack_frame,
    to_invite,
    unpack_frame,
)
from nexus_protocol.vocabulary import Role


@given(st.integers(0, 2**32 - 1), st.binary(max_size=200))
def test_a_frame_names_its_link_and_carries_its_bytes(link: int, payload: bytes) -> None:
    """unpack(pack(…)) gives both back."""
    assert unpack_frame(pack_frame(link, payload)) == (link, payload)


@pytest.mark.parametrize("frame", [b"", b"\0", b"\0\0\0"])
def test_a_frame_too_short_for_a_link_number_is_refused(frame: bytes) -> None:
    """Fewer than four bytes name no link."""
    with pytest.raises(ProtocolError) as error:
        unpack_frame(frame)
    assert error.value.code == "malformed"


def test_a_frame_holds_max_payload_bytes_and_not_one_more() -> None:
    """The longest frame is read, a longer one refused."""
    assert unpack_frame(pack_frame(7, bytes(MAX_PAYLOAD))) == (7, bytes(MAX_PAYLOAD))
    with pytest.raises(ProtocolError) as error:
        unpack_frame(pack_frame(7, bytes(MAX_PAYLOAD + 1)))
    assert error.value.code == "too-large"


def test_what_is_said_about_invitations_and_tokens_is_read_as_it_was_written() -> None:
    """Each by its own decoder."""
    renewed, joined = Renewed("a.b.c"), Joined("a.b.c", "ada", Role.OPERATOR, ("*",), 1_800_000_000)
    invite = Invite("0" * 64, "ada", Role.VIEWER, MAX_INVITATION)
    assert from_relay.decode(from_relay.encode(renewed)) == renewed
    assert from_join.decode(from_join.encode(joined)) == joined
    assert to_invite.decode(to_invite.encode(invite)) == invite
    for answer in (Invited(1_800_000_000, "office"), NotInvited("too-many", "wait")):
        assert from_invite.decode(from_invite.encode(answer)) == answer


@pytest.mark.parametrize("token", ["", "a b", "a\nX: y", "a\r\n", "\u00e9", "a" * 8_000])
def test_a_token_that_could_end_a_header_is_not_read(token: str) -> None:
    """Whoever plays the relay cannot make a program write headers of its choice."""
    with pytest.raises(ProtocolError):
        from_relay.decode(from_relay.encode(Renewed(token)))
    with pytest.raises(ProtocolError):
        from_join.decode(from_join.encode(Joined(token, "ada", Role.OPERATOR, ("office",), 1)))


@pytest.mark.parametrize("desk", ["", "**", "of fice", "\x1b[2J", "../etc", "office\n", "d" * 65])
def test_what_is_neither_a_desk_nor_all_of_them_is_not_read(desk: str) -> None:
    """Nothing that could steer a terminal is taken for the name of a desk."""
    with pytest.raises(ProtocolError):
        from_join.decode(from_join.encode(Joined("a.b.c", "ada", Role.OPERATOR, (desk,), 1)))
