"""When the next frame of one viewer is due; no clock and no I/O of its own.

    STILL ──changed──> DUE ──sent──> SETTLING ──sent × SETTLE_FRAMES──> STILL
                        ^──────────changed──────────┘

A change is due at once, no sooner after the one before than the fps cap allows; a settle frame never delays it.
After the last change a few settle frames follow: the encoder spends them on the same picture until it is as good as
it gets, and they carry a lost tail's repair. Then nothing is captured, encoded or sent until something changes.
"""

from __future__ import annotations

SETTLE_FRAMES = 6
SETTLE_INTERVAL = 0.06
"""Seconds between settle frames: out of the way of the next change, and done well within half a second."""


class Pacer:
    def __init__(self, max_fps: int = 60) -> None:
        self.max_fps = max_fps
        self._dirty = True
        self._settle_left = 0
        self._last = self._last_change = float("-inf")

    def changed(self) -> None:
        """Something on the desk, or the way it is shown, has changed."""
        self._dirty = True

    def due(self) -> float | None:
        """The time of the next frame; in the past when it is late, None when nothing is left to send."""
        if self._dirty:
            return self._last_change + 1 / self.max_fps
        if self._settle_left:
            return self._last + SETTLE_INTERVAL
        return None

    def begin(self, now: float) -> None:
        """A frame is being captured: what changes from here on is for the next one."""
        self._last = now
        if self._dirty:
            self._last_change, self._settle_left, self._dirty = now, SETTLE_FRAMES, False
        else:
            self._settle_left -= 1
