"""The desk view in a real Textual app, read back from the bytes its terminal gets and driven by mouse events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import numpy as np
import pyte
import pytest
from textual import events, on
from textual.app import App, ComposeResult
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from nexus_protocol.vocabulary import Button
from nexus_tui.render.halfblock import Frame
from nexus_tui.widgets import desk_view
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


@pytest.fixture(autouse=True)
def _truecolor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Styles remember their escape sequence, so colour systems must not share them."""
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "truecolor")
    desk_view._style.cache_clear()
    yield
    desk_view._style.cache_clear()


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


async def test_terminal_shows_the_newest_frame() -> None:
    """After several frames, drawn or not, each half cell has the colour of its pixel in the last."""
    async with console() as (app, pilot):
        for seed in range(4):
            app.view.show(picture(seed))
            if seed % 2:
                await paint(app, pilot)
                assert_shows(app, picture(seed))


async def test_an_unchanged_frame_writes_nothing() -> None:
    """The same picture again costs no byte, and one changed pixel a row at most."""
    async with console() as (app, pilot):
        frame = picture()
        app.view.show(frame)
        whole = await paint(app, pilot)
        app.view.show(frame.copy())
        assert await paint(app, pilot) == 0
        frame = frame.copy()
        frame[10, 20] = (255, 0, 255)
        app.view.show(frame)
        assert 0 < await paint(app, pilot) < whole / SIZE[1]
        assert_shows(app, frame)


async def test_a_frame_of_another_size_is_scaled() -> None:
    """A frame twice as large shows the mean of four pixels in each half cell."""
    async with console() as (app, pilot):
        app.view.show(picture().repeat(2, axis=0).repeat(2, axis=1))
        await paint(app, pilot)
        assert_shows(app, picture())


async def test_picture_is_centred_with_its_aspect_ratio() -> None:
    """In a box that is too wide the picture stands in the middle, and the margins are the widget's ground."""
    async with console((60, 14)) as (app, pilot):
        assert app.resized[-1].picture_width == 47
        app.view.show(np.full((28, 47, 3), 255, np.uint8))
        await paint(app, pilot)
        for row in range(14):
            shown = [app.colours(column, row) == ("ffffff", "ffffff") for column in range(60)]
            assert shown == [False] * 6 + [True] * 47 + [False] * 7


async def test_resized_names_viewport_and_picture_once() -> None:
    """The wanted viewport is told when it changes: twice the picture, but not more than the desk has."""
    async with console() as (app, pilot):
        await pilot.resize_terminal(20, 6)
        await pilot.resize_terminal(20, 7)
        await pilot.pause()
        app.view.desk_size = (30, 18)
        await pilot.pause()
        sizes = [(m.viewport_width, m.viewport_height, m.picture_width, m.picture_height) for m in app.resized]
        assert sizes == [(80, 48, 40, 24), (40, 24, 20, 12), (30, 18, 20, 12)]


@pytest.mark.parametrize("size", [(20, 5), (4, 2), (3, 1), (1, 1)])
async def test_small_terminals_draw_what_fits(size: tuple[int, int]) -> None:
    """The picture follows the terminal down to nothing, and comes back."""
    async with console() as (app, pilot):
        frame = np.full((24, 40, 3), 255, np.uint8)
        app.view.show(frame)
        app.view.mark("request", 0, 0)
        await paint(app, pilot)
        await pilot.resize_terminal(*size)
        app.view.show(frame)
        app.view.flash(319, 191)
        await paint(app, pilot)
        assert (app.view.placement is None) == (size[0] < 4 or size[1] < 2)
        await pilot.resize_terminal(*SIZE)
        app.view.unmark("request")
        app.terminal.screen.resize(SIZE[1], SIZE[0])
        app.view.refresh()
        await until(app, lambda: app.colours(20, 6) == ("ffffff", "ffffff"))


async def test_message_stands_in_for_a_missing_picture() -> None:
    """Before the first frame, and after the picture is lost, a message and a hint stand in the middle."""
    async with console() as (app, pilot):
        app.view.placeholder, app.view.hint = "Connecting to office…", "Ctrl+Q leaves"
        await paint(app, pilot)
        assert app.terminal.screen.display[5].center(40).strip() == "Connecting to office…"
        assert app.terminal.screen.display[5].index("C") == 9
        assert app.terminal.screen.display[6].strip() == "Ctrl+Q leaves"
        app.view.show(picture())
        await paint(app, pilot)
        assert_shows(app, picture())
        app.view.clear("Lost: \x1b[31mthe desk\n is gone", "")
        await paint(app, pilot)
        assert app.terminal.screen.display[5].strip() == "Lost:  [31mthe desk  is gone"
        app.view.show(picture())
        await paint(app, pilot)
        assert_shows(app, picture())


async def test_a_request_pulses_at_its_pixel_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark rings its cell, which stays visible, and pulses; without marks no timer runs and the picture is whole."""
    monkeypatch.setattr(desk_view, "PULSE_SECONDS", 0.01)
    async with console() as (app, pilot):
        app.view.show(picture())
        await paint(app, pilot)
        timers = len(app.view._timers)

        def ring() -> dict[tuple[int, int], tuple[str, str]]:
            screen = app.terminal.screen
            cells = {(x, y): screen.buffer[y][x] for y in range(SIZE[1]) for x in range(SIZE[0])}
            return {place: (cell.fg, cell.bg) for place, cell in cells.items() if cell.data not in " ▀▄█"}

        app.view.mark("7", 20 * 8 + 3, 6 * 16 + 9)
        await until(app, lambda: (18, 5) in ring())
        first = ring()
        assert (20, 6) not in first
        assert (19, 6) in first
        assert set(first.values()) == {("000000", "ffd700")}
        await until(app, lambda: (16, 4) in ring())
        assert set(ring().values()) == {("ffd700", "000000")}
        app.view.unmark("7")
        app.view.unmark("7")
        await until(app, lambda: not ring())
        assert len(app.view._timers) == timers
        assert_shows(app, picture())


async def test_marks_follow_their_pixel_and_stay_on_the_picture() -> None:
    """A mark at the desk's corner is cut at the picture's edge; the same key moves; off the desk is not drawn."""
    async with console((60, 12)) as (app, pilot):
        app.view.show(picture())
        app.view.mark("corner", 0, 0, "cross")
        await paint(app, pilot)
        lines = app.terminal.screen.display
        assert lines[0][10:13] == f"{lines[0][10]}──"
        assert lines[1][10] == "│"
        app.view.mark("corner", 319, 191, "cross")
        await paint(app, pilot)
        assert "─" not in app.terminal.screen.display[0]
        assert app.terminal.screen.display[11][47:49] == "──"
        app.view.mark("corner", 320, 0, "cross")
        await paint(app, pilot)
        assert_shows(app, picture(), column=10)


async def test_a_flash_goes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done lights up over its cell for a moment, and leaves the picture as it was."""
    monkeypatch.setattr(desk_view, "FLASH_SECONDS", 0.05)
    async with console() as (app, pilot):
        app.view.show(picture())
        await paint(app, pilot)
        for _ in range(2 * desk_view.MAX_FLASHES):
            app.view.flash(160, 96)
        assert len(app.view._marks) == desk_view.MAX_FLASHES
        await until(app, lambda: app.terminal.screen.buffer[6][20].data == "┼")
        await until(app, lambda: "┼" not in app.terminal.screen.display[6])
        assert_shows(app, picture())


async def test_pointer_events_name_desk_pixels() -> None:
    """Press, drag and release tell the centre of the cell on the desk, and the button."""
    async with console((60, 12)) as (app, pilot):
        app.view.show(picture())
        await pilot.hover(app.view, (10, 0))
        await pilot.mouse_down(app.view, (12, 3), button=3)
        await pilot.hover(app.view, (30, 6))
        await pilot._post_mouse_events([events.MouseMove, events.MouseUp], app.view, (31, 7), button=3)
        await pilot.pause()
        assert app.events() == [
            ("move", 4, 8, None, 0, 0),
            ("move", 20, 56, None, 0, 0),
            ("down", 20, 56, Button.RIGHT, 0, 0),
            ("drag", 164, 104, Button.RIGHT, 0, 0),
            ("drag", 172, 120, Button.RIGHT, 0, 0),
            ("up", 172, 120, Button.RIGHT, 0, 0),
        ]
        assert app.mouse_captured is None


async def test_a_release_without_its_button_is_the_last_one_pressed() -> None:
    """The oldest mouse protocol does not say which button came up."""
    async with console() as (app, pilot):
        app.view.show(picture())
        await pilot.mouse_down(app.view, (20, 6), button=2)
        await pilot._post_mouse_events([events.MouseUp], app.view, (20, 6), button=0)
        await pilot.pause()
        assert app.events()[-1] == ("up", 164, 104, Button.MIDDLE, 0, 0)


async def test_the_margin_is_not_the_desk_but_a_drag_ends_at_its_edge() -> None:
    """Clicks beside the picture tell nothing; a button let go there comes up at the nearest pixel."""
    async with console((60, 12)) as (app, pilot):
        app.view.show(picture())
        await pilot.mouse_down(app.view, (3, 3))
        await pilot.mouse_up(app.view, (3, 3))
        await pilot.pause()
        assert app.pointer == []
        await pilot.mouse_down(app.view, (10, 3))
        await pilot.mouse_up(app.view, (59, 11))
        await pilot.pause()
        assert app.events()[-1] == ("up", 316, 184, Button.LEFT, 0, 0)


async def test_pointer_is_silent_without_a_picture() -> None:
    """Nobody clicks on a desk he cannot see."""
    async with console() as (app, pilot):
        await pilot.click(app.view, (20, 6))
        app.view.show(picture())
        app.view.clear()
        await pilot.click(app.view, (20, 6))
        await pilot.pause()
        assert app.pointer == []


async def test_a_lost_mouse_lets_the_buttons_go() -> None:
    """When another widget takes the mouse, or the view is hidden, a held button comes up where it was."""
    async with console() as (app, pilot):
        app.view.show(picture())
        await pilot.mouse_down(app.view, (20, 6))
        app.capture_mouse(app.screen)
        await pilot.pause()
        assert app.events()[-1] == ("up", 164, 104, Button.LEFT, 0, 0)
        app.capture_mouse(None)
        await pilot.mouse_down(app.view, (21, 6))
        app.view.display = False
        await pilot.pause()
        assert app.events()[-1] == ("up", 172, 104, Button.LEFT, 0, 0)


async def test_a_second_press_right_behind_a_release_stays_down() -> None:
    """Events that arrive in one burst, as over a slow line, keep their order and nothing is let go early."""
    async with console() as (app, pilot):
        app.view.show(picture())
        for kind in (events.MouseDown, events.MouseUp, events.MouseDown):
            app.view.post_message(kind(app.view, 20, 6, 0, 0, 1, False, False, False))
        await pilot.pause()
        await pilot.pause()
        assert [each.kind for each in app.pointer] == ["down", "up", "down"]


@pytest.mark.parametrize(
    ("kind", "shift", "dx", "dy"),
    [
        (events.MouseScrollUp, False, 0, -1),
        (events.MouseScrollDown, False, 0, 1),
        (events.MouseScrollLeft, False, -1, 0),
        (events.MouseScrollRight, False, 1, 0),
        (events.MouseScrollUp, True, -1, 0),
        (events.MouseScrollDown, True, 1, 0),
    ],
)
async def test_wheel_turns_right_and_down(kind: type[events.MouseEvent], shift: bool, dx: int, dy: int) -> None:
    """Each notch is told with its direction; shift turns the wheel sideways."""
    async with console() as (app, pilot):
        app.view.show(picture())
        await pilot._post_mouse_events([kind], app.view, (1, 1), shift=shift)
        await pilot.pause()
        assert app.events() == [("scroll", 12, 24, None, dx, dy)]


async def test_a_mouse_that_reports_pixels_is_finer_than_cells() -> None:
    """Where the terminal tells fractions of a cell, each reaches its own pixel of the desk."""
    async with console() as (app, pilot):
        app.view.show(picture())
        app.supports_smooth_scrolling = True
        app.view.post_message(events.MouseMove(app.view, 20.125, 6.875, 0, 0, 0, False, False, False))
        await pilot.pause()
        assert app.events() == [("move", 161, 110, None, 0, 0)]


async def test_terminals_of_256_colours_get_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    """No 24-bit colour is sent to a terminal that has 256."""
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "256")
    async with console() as (app, pilot):
        app.terminal.sent.clear()
        app.view.show(picture())
        await paint(app, pilot)
        assert_shows(app, picture())
        assert "48;5;" in "".join(app.terminal.sent)
        assert ";2;" not in "".join(app.terminal.sent)
