"""A Textual app that is only a desk view, and a terminal in memory that reads back what it draws."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pyte
from textual import on
from textual.app import App, ComposeResult
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from nexus_protocol.vocabulary import Button
from nexus_tui.render.halfblock import Frame
from nexus_tui.widgets.desk_view import DeskView

DESK = (320, 192)
SIZE = (40, 12)  # the desk fits exactly: 8 desk pixels a picture pixel


class Terminal(HeadlessDriver):
    """A terminal emulator in memory: what the app writes ends up on ``screen``."""

    screen: pyte.Screen
    sent: list[str]

    @property
    def is_headless(self) -> bool:
        return False

    def start_application_mode(self) -> None:
        super().start_application_mode()
        self.sent = []
        self.screen = pyte.Screen(*self._get_terminal_size())
        self.screen.set_mode(pyte.modes.LNM)
        self.stream = pyte.Stream(self.screen)

    def write(self, data: str) -> None:
        self.sent.append(data)
        self.stream.feed(data)


class Console(App[None]):
    def __init__(self) -> None:
        super().__init__(driver_class=Terminal)
        self.view = DeskView()
        self.view.desk_size = DESK
        self.pointer: list[DeskView.Pointer] = []
        self.resized: list[DeskView.Resized] = []
        self.drawn = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield self.view

    @on(DeskView.Pointer)
    def _pointer(self, message: DeskView.Pointer) -> None:
        self.pointer.append(message)

    @on(DeskView.Resized)
    def _resized(self, message: DeskView.Resized) -> None:
        self.resized.append(message)

    def post_display_hook(self) -> None:
        self.drawn.set()

    @property
    def terminal(self) -> Terminal:
        assert isinstance(self._driver, Terminal)
        return self._driver

    def colours(self, column: int, row: int) -> tuple[str, str]:
        """What a cell of the terminal shows in its upper and lower half."""
        cell = self.terminal.screen.buffer[row][column]
        return {
            "▀": (cell.fg, cell.bg), "▄": (cell.bg, cell.fg), "█": (cell.fg, cell.fg), " ": (cell.bg, cell.bg),
        }[cell.data]  # fmt: skip

    def events(self) -> list[tuple[str, int, int, Button | None, int, int]]:
        return [(each.kind, each.x, each.y, each.button, each.dx, each.dy) for each in self.pointer]


@asynccontextmanager
async def console(size: tuple[int, int] = SIZE) -> AsyncIterator[tuple[Console, Pilot[None]]]:
    app = Console()
    async with app.run_test(headless=False, size=size) as pilot:
        await pilot.pause()
        yield app, pilot


async def paint(app: Console, pilot: Pilot[None]) -> int:
    """Let the app draw what it owes, without waiting for its clock; tells the bytes it took."""
    before = len(app.terminal.sent)
    await pilot.pause()
    app.screen._on_timer_update()
    return len("".join(app.terminal.sent[before:]).encode())


async def until(app: Console, condition: Callable[[], bool]) -> None:
    """Wait, frame by frame, for something to be seen."""
    async with asyncio.timeout(5):
        while not condition():
            app.drawn.clear()
            await app.drawn.wait()


def picture(seed: int = 1, width: int = 40, height: int = 24) -> Frame:
    """Blocks in a few colours that rounding leaves alone."""
    palette = np.array([(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    coarse = np.random.default_rng(seed).integers(0, len(palette), (height // 2, width // 2))
    frame: Frame = palette[coarse.repeat(2, axis=0).repeat(2, axis=1)]
    frame[1::5, ::3] = 255
    return frame


def hexadecimal(colour: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    return "".join(f"{channel:02x}" for channel in colour.tolist())


def assert_shows(app: Console, frame: Frame, column: int = 0, row: int = 0) -> None:
    """The terminal shows the frame, from a cell on."""
    for y in range(frame.shape[0] // 2):
        for x in range(frame.shape[1]):
            expected = (hexadecimal(frame[2 * y, x]), hexadecimal(frame[2 * y + 1, x]))
            assert app.colours(column + x, row + y) == expected, (x, y)
