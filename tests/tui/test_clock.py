"""The age of a picture, from pings and RTP timestamps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_protocol.messages import Pong, StreamClock
from nexus_tui.core.clock import PictureClock

seconds = st.floats(0, 1e6)


@given(offset=st.floats(-1e6, 1e6), there=st.floats(0, 1), back=st.floats(0, 1), start=seconds)
def test_age_is_right_to_within_half_the_round_trip(offset: float, there: float, back: float, start: float) -> None:
    """Whatever the two clocks show, and however uneven the way is."""
    clock = PictureClock()
    clock.pong(Pong(sent=start, agent_time=start + there + offset), start + there + back)
    clock.stream(StreamClock(rtp=1000, captured=start + offset))
    age = clock.age(1000, start + 5)
    assert age == pytest.approx(5, abs=(there + back) / 2 + 1e-6)


def test_the_quickest_recent_pong_is_believed() -> None:
    """A pong that was held up says little about the clocks."""
    clock = PictureClock()
    clock.pong(Pong(sent=10, agent_time=110), 10)
    clock.pong(Pong(sent=20, agent_time=120.9), 21)
    clock.stream(StreamClock(rtp=0, captured=130))
    assert clock.age(0, 31) == pytest.approx(1)
    assert clock.round_trip == 1


def test_rtp_time_wraps_around() -> None:
    """RTP timestamps have 32 bits: the picture after 2^32 - 1 is the next one, not one of 13 hours ago."""
    clock = PictureClock()
    clock.pong(Pong(sent=0, agent_time=0), 0)
    clock.stream(StreamClock(rtp=2**32 - 90_000, captured=100))
    assert clock.age(90_000, 103) == pytest.approx(1)


def test_nothing_is_claimed_before_it_is_known() -> None:
    """No pong, no stream clock: no age."""
    clock = PictureClock()
    assert clock.age(0, 0) is None
    clock.pong(Pong(sent=0, agent_time=0), 0)
    assert clock.age(0, 0) is None
