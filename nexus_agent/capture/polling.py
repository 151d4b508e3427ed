"""Noticing changes by looking: for platforms, and X servers, that do not tell.

The desk is grabbed at an interval in a thread of its own and compared with the picture before.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import numpy as np

from nexus_protocol.actions import Region
from nexus_protocol.errors import NexusError

from . import DeskLost, Pixels, Watched
from .screen import Screen

INTERVAL = 1 / 20
"""Seconds between two looks: twenty grabs and comparisons of 1080p take about a tenth of one core."""
LOOKS = 20
"""Looks between two readings of the desk's size, for which mss must be opened anew."""


class Poller:
    """Calls `on_change`, and at most once `on_failure`, from its own thread until `stop`; at its end `on_end`."""

    def __init__(
        self,
        grab: Callable[[], Pixels],
        on_change: Callable[[], None],
        on_failure: Callable[[NexusError], None],
        on_end: Callable[[], None],
        interval: float = INTERVAL,
    ) -> None:
        self._grab, self._on_change, self._on_failure, self._on_end = grab, on_change, on_failure, on_end
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nexus-poller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the thread has ended: after one grab at the longest."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            before = self._grab()
            while not self._stop.wait(self._interval):
                now = self._grab()
                if not np.array_equal(before, now):  # also when only the shape differs
                    before = now
                    self._on_change()
        except NexusError as error:
            if not self._stop.is_set():
                self._on_failure(error)
        finally:
            self._on_end()


class PollingCapture(Watched):
    """Capture for platforms where only mss is known to work. Needs a running event loop."""

    def __init__(self, interval: float = INTERVAL, display: str | None = None) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._interval = interval
        self._screen = Screen(display)
        self._poller: Poller | None = None
        self._looks = 0
        self._size = self._screen.size()
        self.origin = self._screen.origin()

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def grab(self, region: Region | None = None) -> Pixels:
        return self._screen.grab(region)

    def close(self) -> None:
        self._watchers.clear()
        self.on_lost = self.on_resize = None
        self._stop_watching()
        self._screen.close()

    def _look(self) -> Pixels:
        """In the poller's thread. Reading the monitors again is the only way to see another size."""
        self._looks += 1
        if self._looks % LOOKS == 0:
            self._screen.forget_size()
        try:
            return self._screen.grab()
        except NexusError:  # perhaps the desk has become smaller than what mss still looks for
            self._screen.forget_size()
            return self._screen.grab()

    def _start_watching(self) -> None:
        self._poller = Poller(
            self._look,
            lambda: self._on_loop(self._seen_change),
            lambda error: self._on_loop(self._lost, DeskLost(str(error))),
            self._screen.leave,
            self._interval,
        )

    def _stop_watching(self) -> None:
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.stop()

    def _on_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _seen_change(self) -> None:
        if self._poller is None:
            return
        size = self._screen.size()
        if size != self._size:
            self._size = size
            self._resized(*size)
        else:
            self._changed()
