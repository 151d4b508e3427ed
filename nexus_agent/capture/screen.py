"""The pixels of the whole virtual screen through mss: the only module that knows mss.

It notices nothing by itself; `x11` and `polling` add that.
"""

from __future__ import annotations

import threading

import mss
import numpy as np
from mss.exception import ScreenShotError

from nexus_protocol.actions import Region
from nexus_protocol.errors import NexusError

from . import Pixels, check_region


class Screen:
    """Grabs for any thread; each thread gets an mss instance of its own, as some platforms bind it to one."""

    def __init__(self, display: str | None = None) -> None:
        """`display` is the X display; None on other platforms."""
        self._display = display
        self._own = threading.local()
        self._opened: list[mss.MSS] = []
        self._generation = 0
        self._closed = False

    def size(self) -> tuple[int, int]:
        _, _, width, height = self._geometry(self._mss())
        return width, height

    def origin(self) -> tuple[int, int]:
        """Where the desk's 0,0 lies in the platform's coordinates: not at 0,0 with a monitor left of the first."""
        left, top, _, _ = self._geometry(self._mss())
        return left, top

    def grab(self, region: Region | None = None) -> Pixels:
        """Raises NexusError."""
        source = self._mss()
        left, top, width, height = self._geometry(source)
        if region is not None:
            check_region(region, (width, height))
            left, top, width, height = left + region.x, top + region.y, region.width, region.height
        try:
            shot = source.grab({"left": left, "top": top, "width": width, "height": height})
        except ScreenShotError as error:
            raise NexusError(f"the screen cannot be captured: {error}") from None
        # mss hands over a buffer of its own for each shot, so it need not be copied again.
        return np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)

    def forget_size(self) -> None:
        """The screen's size changed: mss holds the old one, and buffers of that size, so it is opened anew."""
        self._generation += 1

    def leave(self) -> None:
        """The calling thread ends, or looks no more: what was opened for it is closed."""
        current: mss.MSS | None = getattr(self._own, "mss", None)
        if current is not None:
            self._own.mss = None
            if current in self._opened:
                self._opened.remove(current)
                current.close()

    def close(self) -> None:
        self._closed = True
        while self._opened:
            self._opened.pop().close()

    def _mss(self) -> mss.MSS:
        generation = self._generation
        current: mss.MSS | None = getattr(self._own, "mss", None)
        if current is not None and self._own.generation == generation and not self._closed:
            return current
        self.leave()
        if self._closed:
            raise NexusError("the screen cannot be captured: it was closed")
        try:
            fresh = mss.MSS() if self._display is None else mss.MSS(display=self._display)
        except ScreenShotError as error:
            raise NexusError(f"the screen cannot be captured: {error}") from None
        self._own.mss, self._own.generation = fresh, generation
        self._opened.append(fresh)
        return fresh

    @staticmethod
    def _geometry(source: mss.MSS) -> tuple[int, int, int, int]:
        try:
            whole = source.monitors[0]
        except ScreenShotError as error:
            raise NexusError(f"the screen cannot be captured: {error}") from None
        return whole["left"], whole["top"], whole["width"], whole["height"]
