"""How old the picture is: the agent's clock seen from here. Pure arithmetic over pings and RTP timestamps.

Each pong gives one estimate of the offset between both monotonic clocks, wrong by at most half its round trip
(the idea of NTP, RFC 5905 section 8); the quickest of the recent pongs is believed.
"""

from __future__ import annotations

from collections import deque

from nexus_protocol.messages import Pong, StreamClock

CLOCK_RATE = 90_000
_WRAP = 1 << 32
_RECENT = 16


class PictureClock:
    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_RECENT)
        self._stream: StreamClock | None = None
        self.round_trip: float | None = None
        """Seconds to the agent and back over the link, the last one measured."""

    def pong(self, pong: Pong, now: float) -> None:
        self.round_trip = now - pong.sent
        self._samples.append((self.round_trip, pong.agent_time - (pong.sent + now) / 2))

    def stream(self, clock: StreamClock) -> None:
        self._stream = clock

    def age(self, rtp: int, now: float) -> float | None:
        """Seconds since the picture with this RTP timestamp was captured; None before the clocks are known."""
        if self._stream is None or not self._samples:
            return None
        ticks = (rtp - self._stream.rtp + _WRAP // 2) % _WRAP - _WRAP // 2
        captured = self._stream.captured + ticks / CLOCK_RATE
        _, offset = min(self._samples)
        return max(0.0, now + offset - captured)
