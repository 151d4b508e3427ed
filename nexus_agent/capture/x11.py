"""The picture of an X11 desktop: pixels through mss, changes through XDamage, both without a timer.

The damage object reports only when it turns from empty to not empty, one event for any burst of drawing. A grab
empties it again, and has the server confirm that *before* it reads pixels: what is drawn later makes a new event,
what was drawn earlier is in the picture. So there are never more events than grabs, and no change goes unseen.
"""

from __future__ import annotations

import asyncio
from typing import Any

from nexus_agent.xserver import XServer, damage, xproto
from nexus_protocol.actions import Region
from nexus_protocol.errors import NexusError

from . import DeskLost, Pixels, Watched
from .polling import Poller
from .screen import Screen

NO_REGION = 0


class X11Capture(Watched):
    """Capture of one X display. Needs a running event loop, and raises Unreachable where no X server answers."""

    def __init__(self, display: str) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._server = XServer(display)
        self._screen = Screen(display)
        self._size = self._server.size
        self._gone: DeskLost | None = None
        self._closed = False
        self._damage: int | None = None
        self._armed = True
        self._poller: Poller | None = None
        self._extension: Any | None = self._server.extension(damage, "DAMAGE")
        with self._server as server:
            if self._extension is not None:
                self._extension.QueryVersion(1, 1).reply()
            # The root window is told of its new size whichever way it was changed: RandR, a VM's driver, Xvnc.
            mask = xproto.EventMask.StructureNotify
            server.core.ChangeWindowAttributesChecked(server.root, xproto.CW.EventMask, [mask]).check()
            self._descriptor = server.fileno()
        self._loop.add_reader(self._descriptor, self._read_events)
        self._read_events()

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def grab(self, region: Region | None = None) -> Pixels:
        try:
            self._rearm()
            try:
                return self._screen.grab(region)
            except NexusError:
                # Perhaps the desk's size has just changed, and mss holds buffers of the old one: ask it afresh, once.
                self._check_alive()
                self._screen.forget_size()
                return self._screen.grab(region)
        except NexusError:
            self._check_alive()
            raise

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._watchers.clear()
        self.on_lost = self.on_resize = None
        self._stop_watching()
        self._loop.remove_reader(self._descriptor)
        self._server.close()
        self._screen.close()

    # The damage object

    def _start_watching(self) -> None:
        if self._gone is not None:
            return
        if self._extension is None:
            self._poller = Poller(
                self._screen.grab, lambda: self._on_loop(self._changed), lambda _: None, self._screen.leave
            )
            return
        with self._server as server:
            self._damage = server.new_id()
            self._armed = True
            self._extension.CreateChecked(self._damage, server.root, damage.ReportLevel.NonEmpty).check()
        # The answer may have brought events with it; they are in memory now, where the reader would not see them.
        self._loop.call_soon(self._read_events)

    def _stop_watching(self) -> None:
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.stop()
        old, self._damage = self._damage, None
        if old is not None and self._extension is not None and self._gone is None:
            with self._server as server:
                self._extension.Destroy(old)
                server.flush()

    def _rearm(self) -> None:
        """Empty the damage object if it has reported, and return when the server has done so. For any thread."""
        if self._armed or self._extension is None:
            return
        with self._server:
            watched = self._damage
            if watched is None or self._armed:
                return
            self._armed = True
            self._extension.SubtractChecked(watched, NO_REGION, NO_REGION).check()
        self._on_loop(self._read_events)

    # Events

    def _on_loop(self, callback: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback)

    def _read_events(self) -> None:
        if self._closed or self._gone is not None or not self._server.try_take():
            return  # a grab holds the connection; it calls this when it has done with it
        changed = False
        size = self._size
        try:
            with self._server as server:
                for event in server.events():
                    if isinstance(event, damage.NotifyEvent):
                        changed = changed or event.damage == self._damage
                    elif isinstance(event, xproto.ConfigureNotifyEvent) and event.window == server.root:
                        size = event.width, event.height
                if changed:
                    self._armed = False
        except DeskLost as error:
            self._lose(error)
            return
        finally:
            self._server.give_back()
        if size != self._size:
            self._size = size
            self._screen.forget_size()
            self._resized(*size)
        elif changed:
            self._changed()

    def _lose(self, error: DeskLost) -> None:
        if self._gone is None:
            self._gone = error
            self._loop.remove_reader(self._descriptor)
            self._lost(error)

    def _check_alive(self) -> None:
        """Raises DeskLost when the server does not answer any more."""
        if self._gone is not None:
            raise self._gone
        with self._server as server:
            server.sync()
        self._on_loop(self._read_events)
