"""How the pixels of a desktop are read and how its changes are noticed: the interface, and what all kinds share.

The kinds are in `x11` (XDamage), `polling` (any platform mss knows) and `desks.synthetic` (drawn, not captured).
Cropping for a viewport beyond a plain region, scaling and encoding belong to whoever asks for the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nexus_protocol.actions import Region
from nexus_protocol.errors import NexusError

Pixels = NDArray[np.uint8]
"""Shape (height, width, 4), C-contiguous, bytes in the order blue, green, red and one that means nothing."""

OnChange = Callable[[], None]
OnResize = Callable[[int, int], None]
OnLost = Callable[[NexusError], None]


class DeskLost(NexusError):
    """The desktop is gone: nothing more can be captured or injected."""


class Capture(Protocol):
    """The picture of a desk. All callbacks run on the event loop the capture was opened on."""

    on_resize: OnResize | None
    """Called with width and height after the desk's size changed (and before the `watch` callbacks)."""
    on_lost: OnLost | None
    """Called once, when the desktop went away by itself."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as last told by the desktop."""

    def grab(self, region: Region | None = None) -> Pixels:
        """The pixels of the region, or of the whole desk. Blocks; made for a worker thread.

        The array belongs to the caller. Raises NexusError for a region that leaves the desk, DeskLost when the
        desktop is gone.
        """

    def watch(self, on_change: OnChange) -> None:
        """Call `on_change` when the picture changed.

        One call stands for any number of changes, and the next may come only after the next `grab`: whoever is
        called must see to it that the desk is grabbed again, however much later. The first call may come at once.
        """

    def unwatch(self, on_change: OnChange) -> None:
        """End what `watch` began; unknown callbacks are ignored."""

    def close(self) -> None:
        """End the capture. Idempotent; no callback comes afterwards."""


class Watched:
    """The callbacks of a Capture. Kinds say how watching starts and stops."""

    def __init__(self) -> None:
        self.on_resize: OnResize | None = None
        self.on_lost: OnLost | None = None
        self._watchers: list[OnChange] = []

    def watch(self, on_change: OnChange) -> None:
        self._watchers.append(on_change)
        if len(self._watchers) == 1:
            self._start_watching()

    def unwatch(self, on_change: OnChange) -> None:
        if on_change in self._watchers:
            self._watchers.remove(on_change)
            if not self._watchers:
                self._stop_watching()

    def _start_watching(self) -> None:
        """The first watcher came."""

    def _stop_watching(self) -> None:
        """The last watcher left."""

    def _changed(self) -> None:
        for on_change in tuple(self._watchers):
            on_change()

    def _resized(self, width: int, height: int) -> None:
        if self.on_resize is not None:
            self.on_resize(width, height)
        self._changed()

    def _lost(self, error: NexusError) -> None:
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost(error)


def check_region(region: Region, size: tuple[int, int]) -> None:
    """Raises NexusError when the region is not wholly on a desk of that size."""
    width, height = size
    if region.x + region.width > width or region.y + region.height > height:
        raise NexusError(
            f"the region {region.width}×{region.height} at {region.x},{region.y} leaves the desk of {width}×{height}"
        )
