"""The mouse on the picture: clicks, drags and the wheel reach the pixel of the desk that is under them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness import Person
from .terminal import LEFT, MIDDLE, RIGHT, WHEEL_DOWN, WHEEL_UP, Box, Colour, Terminal
from .xdisplay import DESK, Canvas, PointerEvent

GREEN: Colour = (40, 170, 60)
X_BUTTONS = {LEFT: 1, MIDDLE: 2, RIGHT: 3, WHEEL_UP: 4, WHEEL_DOWN: 5}


@pytest.fixture(scope="module")
def console(ada: Person, office: str) -> Iterator[Terminal]:
    with ada.console(office) as terminal:
        yield terminal


@pytest.fixture
def picture(console: Terminal, canvas: Canvas) -> Box:
    """Where the desk lies on the terminal."""
    canvas.paint(GREEN)
    return console.wait(
        lambda screen: (box := screen.area_of([GREEN])) is not None and box.columns == 74 and box.rows >= 22 and box,
        "a green desk",
    )


def is_under(event: PointerEvent, cell: tuple[int, int], box: Box) -> bool:
    """Whether the event's pixel is within half a cell of the cell's centre."""
    width, height = DESK[0] / box.columns, DESK[1] / box.rows
    x, y = (cell[0] - box.left + 0.5) * width, (cell[1] - box.top + 0.5) * height
    return abs(event.x - x) <= width / 2 and abs(event.y - y) <= height / 2


def corners_and_more(box: Box) -> list[tuple[int, int]]:
    right, bottom = box.right - 1, box.bottom - 1
    return [(box.left, box.top), (right, box.top), (box.left, bottom), (right, bottom), (37, 18), (50, 10)]


@pytest.mark.parametrize("button", [LEFT, MIDDLE, RIGHT])
def test_a_click_reaches_the_pixel_under_it(console: Terminal, canvas: Canvas, picture: Box, button: int) -> None:
    """Each button, at the picture's corners and within it: one press and one release, within half a cell."""
    for cell in corners_and_more(picture):
        canvas.forget()
        console.click(*cell, button)
        up = canvas.wait_event("release", X_BUTTONS[button])
        down = canvas.wait_event("press", X_BUTTONS[button])
        assert is_under(down, cell, picture), (cell, down)
        assert (up.x, up.y) == (down.x, down.y)
        assert len(canvas.clicks()) == 1


def test_a_drag_is_dragged_on_the_desk(console: Terminal, canvas: Canvas, picture: Box) -> None:
    """The button goes down where it went down, moves while it is held, and comes up where it came up."""
    start, through, end = (10, 12), (30, 20), (60, 24)
    console.mouse(LEFT, *start)
    assert is_under(canvas.wait_event("press", 1), start, picture)
    console.mouse(LEFT, *through, moving=True)
    canvas.wait(lambda events: any(e.kind == "motion" and is_under(e, through, picture) for e in events))
    assert not [event for event in canvas.events() if event.kind == "release"]
    console.mouse(LEFT, *end, moving=True)
    console.mouse(LEFT, *end, up=True)
    assert is_under(canvas.wait_event("release", 1), end, picture)


def test_the_wheel_turns_on_the_desk(console: Terminal, canvas: Canvas, picture: Box) -> None:
    """One notch here is one notch there, over the same place."""
    cell = (25, 15)
    for wheel in (WHEEL_UP, WHEEL_DOWN, WHEEL_DOWN):
        canvas.forget()
        console.mouse(wheel, *cell)
        event = canvas.wait_event("release", X_BUTTONS[wheel])
        assert is_under(event, cell, picture)
        assert len(canvas.clicks()) == 1


def test_a_click_beside_the_picture_reaches_nothing(
    console: Terminal, canvas: Canvas, picture: Box, ada: Person, office: str
) -> None:
    """What is not on the picture is not on the desk: the first thing that reaches it is what was done on it."""
    console.click(40, picture.top - 1)
    console.click(100, 20)
    console.click(40, picture.bottom)
    console.click(20, 20)
    canvas.wait_event("release", 1)
    assert len(canvas.clicks()) == 1


def test_a_click_is_logged_with_its_place_and_its_end(console: Terminal, canvas: Canvas, picture: Box) -> None:
    """The console's log tells who clicked where, and that it was done."""
    console.click(33, 17, RIGHT)
    event = canvas.wait_event("release", 3)
    console.wait_text(f"ada click right at {event.x},{event.y}", "done")


def test_view_only_keeps_the_mouse_from_the_desk(ada: Person, office: str, canvas: Canvas, console: Terminal) -> None:
    """With --view-only the picture is shown, a click says why it does nothing, and nothing reaches the desk."""
    canvas.paint(GREEN)
    with ada.console(office, "--view-only") as watching:
        watching.wait(lambda screen: (box := screen.area_of([GREEN])) is not None and box.columns == 74, "the picture")
        watching.click(20, 20)
        watching.wait_text("VIEW ONLY")
        watching.wait_told("nothing is sent")
    console.click(60, 20)
    canvas.wait_event("release", 1)
    assert len(canvas.clicks()) == 1
