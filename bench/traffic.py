"""What a terminal is sent: by our console, and by mpv drawing the same desk with text.

The measurement is itself the terminal: a pty of 160×48 whose output is counted and thrown away.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

from .programs import START, Failed, Programs, await_value, missing_of
from .screens import FlipWindow, connected, start_screen
from .setups import COLUMNS, ROWS, mpv_h264, mpv_raw, serve

WINDOW = 0.8
"""Seconds after a change in which bytes are counted: our picture settles in less."""
STARTED = 50_000
"""Bytes after which a program has drawn its first picture."""
SETTLE = 2.0
"""Seconds it gets after that before anything is counted."""
IDLE = 5.0
"""Seconds over which a still picture is counted."""

Start = Callable[[str, Programs, int], object]


class Terminal:
    """Reads a pty dry and counts."""

    def __init__(self) -> None:
        self._master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        self.count = 0
        self._thread = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):  # how a pty says that nobody has its other end open
            while data := os.read(self._master, 1 << 16):
                self.count += len(data)

    def close(self) -> None:
        """To be called when the programs on it have ended."""
        os.close(self.slave)
        self._thread.join()
        os.close(self._master)


def _ours(display: str, programs: Programs, terminal: int) -> None:
    programs.start(
        serve(programs, display).console(), terminal=terminal, environment={"COLORTERM": "truecolor"}
    )  # fmt: skip


def _mpv(line: Callable[[str, int], str]) -> Start:
    def start(display: str, programs: Programs, terminal: int) -> None:
        programs.start(["sh", "-c", line(display, 30)], terminal=terminal)

    return start


PROGRAMS: dict[str, tuple[Start, tuple[str, ...]]] = {
    "nexus-tui": (_ours, ()),
    "ffmpeg raw 320×180 30 fps, mpv": (_mpv(mpv_raw), ("ffmpeg", "mpv")),
    "ffmpeg H.264 640×360 30 fps, mpv": (_mpv(mpv_h264), ("ffmpeg", "mpv")),
}
"""How each is started, and what it needs."""


def measure(name: str, changes: int) -> tuple[float, list[int], list[int]]:
    """Bytes a second while nothing changes; bytes after each flip; after each letter drawn. Raises Failed."""
    start, needs = PROGRAMS[name]
    if missing := missing_of(needs):
        raise Failed(missing)
    with closing(Terminal()) as terminal, Programs() as programs:
        display = start_screen(programs)
        with connected(display) as connection:
            window = FlipWindow(connection)
            window.flip()
            start(display, programs, terminal.slave)
            await_value(lambda: terminal.count > STARTED or None, "the first picture", START)
            time.sleep(SETTLE)
            idle = _count(terminal, IDLE) / IDLE
            flips = [_after(window.flip, terminal) for _ in range(2 * (changes // 2))]
            letters = [_after(window.letter, terminal) for _ in range(changes)]
    return idle, flips, letters


def _after(change: Callable[[], float], terminal: Terminal) -> int:
    before = terminal.count
    change()
    time.sleep(WINDOW)
    return terminal.count - before


def _count(terminal: Terminal, seconds: float) -> int:
    before = terminal.count
    time.sleep(seconds)
    return terminal.count - before
