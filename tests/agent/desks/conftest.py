"""A real X server for these tests, and a small client of it that writes down the events it gets."""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

from nexus_agent.desks import Desk, open_desk

xcffib: Any = import_module("xcffib")
xproto: Any = import_module("xcffib.xproto")

DEADLINE = 10.0
SIZE = (1000, 700)

StartXvfb = Callable[..., Any]


@contextmanager
def running_xvfb(*options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    process = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", "-screen", "0", f"{SIZE[0]}x{SIZE[1]}x24", "-nolisten", "tcp", "-noreset",
         "-s", "0", *options],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield f":{process.stdout.readline().decode().strip()}", process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The display of an X server that all tests share."""
    with running_xvfb() as (name, _):
        yield name


@pytest.fixture
def start_xvfb() -> StartXvfb:
    """``with start_xvfb(*options) as (display, process)``: an X server of the test's own."""
    return running_xvfb


@pytest.fixture
async def desk(display: str) -> AsyncIterator[Desk]:
    opened = await open_desk(display=display)
    yield opened
    await opened.close()


class Client:
    """An X client with one window, focused, that records its events."""

    def __init__(self, display: str) -> None:
        self.connection = xcffib.connect(display)
        self.core = self.connection.core
        self.screen = self.connection.setup.roots[0]
        self.events: list[Any] = []
        self.window = self.connection.generate_id()
        self.x, self.y, self.width, self.height = 100, 80, 400, 300
        mask = xproto.EventMask
        self.core.CreateWindowChecked(
            self.screen.root_depth, self.window, self.screen.root, self.x, self.y, self.width, self.height, 0,
            xproto.WindowClass.InputOutput, self.screen.root_visual,
            xproto.CW.BackPixel | xproto.CW.OverrideRedirect | xproto.CW.EventMask,
            [0x203040, 1, mask.KeyPress | mask.KeyRelease | mask.ButtonPress | mask.ButtonRelease
             | mask.PointerMotion | mask.Exposure],
        ).check()  # fmt: skip
        self.core.MapWindowChecked(self.window).check()
        self.wait(lambda: self.seen(xproto.ExposeEvent))
        self.core.SetInputFocusChecked(xproto.InputFocus.PointerRoot, self.window, 0).check()
        self.events.clear()

    def paint(self, colour: int, x: int = 0, y: int = 0, width: int = 0, height: int = 0) -> None:
        """Fill a rectangle of the window, or all of it, and return when it is on the screen."""
        self.core.ChangeWindowAttributesChecked(self.window, xproto.CW.BackPixel, [colour]).check()
        self.core.ClearAreaChecked(False, self.window, x, y, width, height).check()

    def seen(self, *kinds: Any) -> list[Any]:
        """The events of these kinds, all there are so far."""
        while (event := self.connection.poll_for_event()) is not None:
            self.events.append(event)
        return [event for event in self.events if isinstance(event, kinds)]

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Read events until the condition holds."""
        deadline = time.monotonic() + DEADLINE
        while not (value := condition()):
            left = deadline - time.monotonic()
            assert left > 0, f"waited in vain; events: {self.events}"
            select.select([self.connection.get_file_descriptor()], [], [], left)
        return value

    def keymap(self) -> list[int]:
        setup = self.connection.setup
        count = setup.max_keycode - setup.min_keycode + 1
        return list(self.core.GetKeyboardMapping(setup.min_keycode, count).reply().keysyms)

    def close(self) -> None:
        self.connection.disconnect()


@pytest.fixture
def make_client() -> Iterator[Callable[[str], Client]]:
    """Clients of any display, closed after the test."""
    opened: list[Client] = []

    def make(display: str) -> Client:
        opened.append(Client(display))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def client(display: str) -> Iterator[Client]:
    opened = Client(display)
    yield opened
    opened.close()
