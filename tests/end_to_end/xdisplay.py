"""An X display for a desk, and what a test puts on it: a painted window that records its pointer events, and xterm."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import xcffib
import xcffib.xproto

from .processes import DEADLINE, environment, make_end, needed
from .terminal import Colour

DESK = (800, 500)
"""Pixels of the display."""

T = TypeVar("T")
xproto: Any = xcffib.xproto


@contextmanager
def running_xvfb(size: tuple[int, int] = DESK) -> Iterator[str]:
    """The name of an X display that ends with the block."""
    process = subprocess.Popen(
        [needed("Xvfb"), "-displayfd", "1", "-screen", "0", f"{size[0]}x{size[1]}x24", "-nolisten", "tcp",
         "-noreset", "-s", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        with process.stdout:
            number = process.stdout.readline().decode().strip()
            assert number, "Xvfb did not start"
            yield f":{number}"
    finally:
        make_end(process)


def server_of(display: str) -> int:
    """The process id of a display's X server, which is the owner of its socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/tmp/.X11-unix/X{display.removeprefix(':')}")
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(credentials[:4], "little")


class PointerEvent(NamedTuple):
    """``kind`` is press, release or motion; ``button`` the X button, 0 for motion."""

    kind: str
    button: int
    x: int
    y: int


class Canvas:
    """A window over the whole display that shows what is painted and records what the pointer does."""

    def __init__(self, display: str) -> None:
        self._connection = xcffib.connect(display)
        self._core = self._connection.core
        screen = self._connection.setup.roots[0]
        self.size = (screen.width_in_pixels, screen.height_in_pixels)
        self._window, self._pen = self._connection.generate_id(), self._connection.generate_id()
        self._events: list[PointerEvent] = []
        mask = xproto.EventMask
        self._core.CreateWindowChecked(
            screen.root_depth, self._window, screen.root, 0, 0, *self.size, 0,
            xproto.WindowClass.InputOutput, screen.root_visual,
            xproto.CW.BackPixel | xproto.CW.OverrideRedirect | xproto.CW.EventMask,
            [0, 1, mask.ButtonPress | mask.ButtonRelease | mask.PointerMotion],
        ).check()  # fmt: skip
        self._core.CreateGCChecked(self._pen, self._window, 0, []).check()
        self._core.MapWindowChecked(self._window).check()

    def paint(self, colour: Colour, x: int = 0, y: int = 0, width: int = 0, height: int = 0) -> None:
        """Fill a rectangle, or everything; on return it is on the screen."""
        red, green, blue = colour
        self._core.ChangeGC(self._pen, xproto.GC.Foreground, [red << 16 | green << 8 | blue])
        rectangle = xcffib.xproto.RECTANGLE.synthetic(x, y, width or self.size[0], height or self.size[1])
        self._core.PolyFillRectangleChecked(self._window, self._pen, 1, [rectangle]).check()

    def events(self) -> list[PointerEvent]:
        """Everything the pointer has done since :meth:`forget`."""
        while (event := self._connection.poll_for_event()) is not None:
            for kind, type in (("press", xproto.ButtonPressEvent), ("release", xproto.ButtonReleaseEvent),
                               ("motion", xproto.MotionNotifyEvent)):  # fmt: skip
                if isinstance(event, type):
                    button = 0 if kind == "motion" else event.detail
                    self._events.append(PointerEvent(kind, button, event.root_x, event.root_y))
        return self._events

    def clicks(self) -> list[tuple[int, int]]:
        """Where buttons were pressed."""
        return [(event.x, event.y) for event in self.events() if event.kind == "press"]

    def forget(self) -> None:
        self._core.GetInputFocus().reply()  # what was done before has been told now
        self.events().clear()

    def wait(self, condition: Callable[[list[PointerEvent]], T]) -> T:
        """Read events until they fulfil the condition; what it returned."""
        return _wait(self._connection, lambda: condition(self.events()))

    def wait_event(self, kind: str, button: int = 0) -> PointerEvent:
        return self.wait(lambda events: next((e for e in events if (e.kind, e.button) == (kind, button)), None))  # type: ignore[return-value]

    def close(self) -> None:
        self._connection.disconnect()


def _wait(connection: Any, condition: Callable[[], T]) -> T:
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        left = end - time.monotonic()
        assert left > 0, "waited in vain for X events"
        select.select([connection.get_file_descriptor()], [], [], left)
    return value


@contextmanager
def running_xterm(display: str, script: str, *arguments: str) -> Iterator[None]:
    """A UTF-8 xterm, on the screen and under the pointer, that runs a shell script."""
    connection = xcffib.connect(display)
    screen = connection.setup.roots[0]
    connection.core.ChangeWindowAttributesChecked(
        screen.root, xproto.CW.EventMask, [xproto.EventMask.SubstructureNotify]
    ).check()
    process = subprocess.Popen(
        [needed("xterm"), "-u8", "-geometry", "300x100+0+0", "-e", "sh", "-c", script, "sh", *arguments],
        env=environment({"DISPLAY": display}), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip

    def mapped() -> bool:
        while (event := connection.poll_for_event()) is not None:
            if isinstance(event, xproto.MapNotifyEvent):
                return True
        assert process.poll() is None, "xterm did not start"
        return False

    try:
        _wait(connection, mapped)
        yield
    finally:
        connection.disconnect()
        make_end(process, signal.SIGKILL)  # an xterm that is just ending by itself may never heed a SIGTERM


class Mailbox:
    """A named pipe by which a script on a desk tells a test something, a line at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # writing too, so it never ends
        self._text = ""

    def line(self) -> str:
        """The next line, once it has come."""
        while "\n" not in self._text:
            ready, _, _ = select.select([self._descriptor], [], [], DEADLINE)
            assert ready, f"nothing came through {self.path.name}"
            self._text += os.read(self._descriptor, 4096).decode()
        line, _, self._text = self._text.partition("\n")
        return line

    def close(self) -> None:
        os.close(self._descriptor)
