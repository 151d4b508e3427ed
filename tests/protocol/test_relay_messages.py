"""Binary frames: a link number and bytes, nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol.errors import ProtocolError
from nexus_protocol.relay_messages import MAX_PAYLOAD, pack_frame, unpack_frame


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
