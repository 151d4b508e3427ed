"""When frames are due."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_agent.stream.pacing import SETTLE_FRAMES, SETTLE_INTERVAL, Pacer


def drain(pacer: Pacer) -> int:
    """Send whatever is due until nothing is; how many frames that took."""
    sent = 0
    while (due := pacer.due()) is not None:
        pacer.begin(max(due, 0.0))
        sent += 1
        assert sent < 1000
    return sent


def test_a_change_is_due_at_once_and_then_settles_into_silence() -> None:
    """One frame for the change, a few that settle, then none."""
    pacer = Pacer()
    drain(pacer)
    pacer.changed()
    assert drain(pacer) == 1 + SETTLE_FRAMES
    assert pacer.due() is None


@given(st.lists(st.floats(0, 0.1), max_size=200), st.integers(1, 240))
def test_the_fps_cap_holds_and_no_last_change_is_lost(gaps: list[float], max_fps: int) -> None:
    """However changes come, frames keep their distance, and a frame follows the last change."""
    pacer = Pacer(max_fps)
    now, frames = 0.0, []
    for gap in gaps:
        now += gap
        pacer.changed()
        due = pacer.due()
        assert due is not None
        if due <= now:
            pacer.begin(now)
            frames.append(now)
    assert all(later - earlier >= 1 / max_fps - 1e-9 for earlier, later in pairwise(frames))
    assert drain(pacer) >= SETTLE_FRAMES


def test_settle_frames_keep_their_distance() -> None:
    """They leave the line free for the next change."""
    pacer = Pacer()
    pacer.begin(10.0)
    assert pacer.due() == pytest.approx(10.0 + SETTLE_INTERVAL)
