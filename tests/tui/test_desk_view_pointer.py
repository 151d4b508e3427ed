"""The pointer on the desk view: what the mouse does in the terminal, in pixels of the desk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from textual import events

from nexus_protocol.vocabulary import Button
from nexus_tui.widgets import desk_view

from .desk_view_app import console, picture


@pytest.fixture(autouse=True)
def _truecolor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Styles remember their escape sequence, so colour systems must not share them."""
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", "truecolor")
    desk_view._style.cache_clear()
    yield
    desk_view._style.cache_clear()


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
