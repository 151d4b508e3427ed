"""Two X servers: the desk, on which a window flips its colour, and the glass, of which one pixel is watched.

Plain xcffib, apart from the agent's own edge to it: what is measured must not share code with what measures.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .programs import Programs

# xcffib is generated code without annotations.
xcffib: Any = importlib.import_module("xcffib")
xproto: Any = importlib.import_module("xcffib.xproto")

SCREEN = (1920, 1080)
WINDOW = (640, 360)
"""The window that flips: a ninth of the desk, in its middle."""

BLACK, WHITE = 0x000000, 0xFFFFFF
LETTER = (10, 20)
ALL_PLANES = 0xFFFFFFFF


def start_screen(programs: Programs) -> str:
    """A new Xvfb; its display's name."""
    width, height = SCREEN
    xvfb = programs.start(
        ["Xvfb", "-displayfd", "1", "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp", "-noreset", "-s", "0"]
    )
    return ":" + xvfb.said(r"(\d+)")


@contextmanager
def connected(display: str) -> Iterator[Any]:
    connection = xcffib.connect(display)
    try:
        yield connection
    finally:
        connection.disconnect()


class FlipWindow:
    """A window in the middle of the desk, black at first."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._core = connection.core
        self.white = False
        self._letters = 0
        screen = connection.setup.roots[connection.pref_screen]
        self._window = connection.generate_id()
        left, top = ((whole - part) // 2 for whole, part in zip(SCREEN, WINDOW, strict=True))
        self._core.CreateWindow(
            screen.root_depth, self._window, screen.root, left, top, *WINDOW, 0,
            xproto.WindowClass.InputOutput, screen.root_visual,
            xproto.CW.BackPixel | xproto.CW.OverrideRedirect, [BLACK, 1],
        )  # fmt: skip
        self._core.MapWindow(self._window)
        font, self._ink = connection.generate_id(), connection.generate_id()
        self._core.OpenFont(font, 5, "10x20")
        mask = xproto.GC.Foreground | xproto.GC.Background | xproto.GC.Font
        self._core.CreateGC(self._ink, self._window, mask, [BLACK, WHITE, font])
        self._sync()

    def flip(self) -> float:
        """Turn the colour over; the time (`time.perf_counter`) just before the server was told."""
        self.white = not self.white
        self._core.ChangeWindowAttributes(self._window, xproto.CW.BackPixel, [WHITE if self.white else BLACK])
        self._core.ClearArea(False, self._window, 0, 0, 0, 0)
        return self._go()

    def letter(self) -> float:
        """Draw the next letter, as typing into a terminal does."""
        across, down = (part // size for part, size in zip(WINDOW, LETTER, strict=True))
        row, column = divmod(self._letters % (across * down), across)
        letter = chr(ord("a") + self._letters % 26)
        self._letters += 1
        self._core.ImageText8(
            1, self._window, self._ink, column * LETTER[0], (row + 1) * LETTER[1] - 4, letter
        )  # fmt: skip
        return self._go()

    def _go(self) -> float:
        started = time.perf_counter()
        self._sync()
        return started

    def _sync(self) -> None:
        self._core.GetInputFocus().reply()


class Glass:
    """The screen on which a viewer shows the desk."""

    def __init__(self, connection: Any) -> None:
        self._core = connection.core
        self._root = connection.setup.roots[connection.pref_screen].root

    def brightness(self, x: int, y: int) -> int:
        """Of one pixel: the mean of its three colours, 0 to 255."""
        blue, green, red = self._image(x, y, 1, 1)[0, 0, :3].tolist()
        return int(red + green + blue) // 3

    def picture(self) -> NDArray[np.uint8]:
        """The brightness of every pixel: (height, width)."""
        return np.asarray(self._image(0, 0, *SCREEN)[..., :3].mean(axis=2), np.uint8)

    def _image(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        reply = self._core.GetImage(
            xproto.ImageFormat.ZPixmap, self._root, x, y, width, height, ALL_PLANES
        ).reply()  # fmt: skip
        pixels: NDArray[np.uint8] = np.frombuffer(reply.data.buf(), np.uint8).reshape(height, width, 4)
        return pixels
