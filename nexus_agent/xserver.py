"""One connection to an X server: the only module that knows xcffib and its errors.

Extensions' requests are made by `capture.x11` and `input.xtest` through the objects handed out here, always inside
``with server:``. That block takes the connection for one thread and turns every failure into a NexusError.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import xcffib
from xcffib import damage, xkb, xproto, xtest

from nexus_protocol.errors import NexusError, Unreachable

from .capture import DeskLost

__all__ = ["XServer", "damage", "xkb", "xproto", "xtest"]

_log = logging.getLogger(__name__)


class XServer:
    """A connection, used as ``with server: …`` from any thread, one at a time.

    Leaving the block raises DeskLost when the server is gone or the connection was closed, and NexusError when
    the server refused a checked request.
    """

    def __init__(self, display: str) -> None:
        """Raises Unreachable when no server answers there or it refuses us."""
        self.display = display
        self._lock = threading.RLock()
        try:
            self._connection: Any = xcffib.connect(display)
        except xcffib.XcffibException:
            raise Unreachable(f"cannot connect to the X server of {display}") from None
        self.core: Any = self._connection.core
        self.setup: Any = self._connection.setup
        screen = self.setup.roots[self._connection.pref_screen]
        self.root: int = screen.root
        self.size: tuple[int, int] = (screen.width_in_pixels, screen.height_in_pixels)
        """As it was when the connection was made."""
        self._closed = False

    def __enter__(self) -> XServer:
        self._lock.acquire()
        if self._closed:
            self._lock.release()
            raise self.gone()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._lock.release()
        if isinstance(error, xcffib.ConnectionException):
            raise self.gone() from None
        if isinstance(error, xcffib.XcffibException):
            raise NexusError(f"the X server of {self.display} refused a request: {type(error).__name__}") from None

    def gone(self) -> DeskLost:
        return DeskLost(f"the X server of {self.display} went away")

    def try_take(self) -> bool:
        """Like entering the block, unless another thread is inside: then False, and nothing was waited for."""
        return self._lock.acquire(blocking=False)

    def give_back(self) -> None:
        self._lock.release()

    def extension(self, module: Any, name: str) -> Any | None:
        """The extension's requests, or None where the server does not have it."""
        with self:
            present = self.core.QueryExtension(len(name), name).reply().present
            return self._connection(module.key) if present else None

    def new_id(self) -> int:
        return int(self._connection.generate_id())

    def flush(self) -> None:
        self._connection.flush()

    def sync(self) -> None:
        """Return when the server has carried out everything sent before."""
        self.core.GetInputFocus().reply()

    def fileno(self) -> int:
        return int(self._connection.get_file_descriptor())

    def events(self) -> Iterator[Any]:
        """The events that have arrived, without waiting. Errors of unchecked requests are only logged."""
        while True:
            try:
                event = self._connection.poll_for_event()
            except xcffib.ConnectionException:
                raise
            except xcffib.XcffibException as error:
                _log.debug("X server of %s: %r", self.display, error)
                continue
            if event is None:
                return
            yield event

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.disconnect()
