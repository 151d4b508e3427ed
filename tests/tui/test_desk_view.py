"""The desk view in a real Textual app, read back from the bytes its terminal gets and driven by mouse events."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from nexus_tui.widgets import desk_view

from .desk_view_app import SIZE, assert_shows, console, paint, picture, until


@pytest.fixture(autouse=True)
def _truecolor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Styles remember their escape sequence, so colour systems must not share them."""
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "truecolor")
    desk_view._style.cache_clear()
    yield
    desk_view._style.cache_clear()


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


async def test_a_long_reason_is_shown_in_full() -> None:
    """What was found, and the command that helps: as many lines as it takes, words and fingerprints whole."""
    key, command = f"SHA256:{'k' * 30}", f"nexus-tui trust office {'f' * 12}"
    async with console() as (app, pilot):
        app.view.placeholder, app.view.hint = "Not connected", f"THE KEY HAS CHANGED. Shown: {key}\nAccept: {command}"
        await paint(app, pilot)
        shown = [line.strip() for line in app.terminal.screen.display if line.strip()]
        assert shown[0] == "Not connected"
        assert "THE KEY HAS CHANGED. Shown:" in shown[1]
        assert key in shown
        assert " ".join(shown).endswith(f"Accept: {command}")


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
