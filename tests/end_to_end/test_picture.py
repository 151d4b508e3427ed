"""The live picture: what is on the desk is on the terminal, at the right place, to the last change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness import Person
from .terminal import Box, Colour, Screen, Terminal, near
from .xdisplay import DESK, Canvas

QUARTERS: tuple[Colour, ...] = ((200, 40, 40), (40, 170, 60), (50, 70, 220), (220, 180, 40))
"""Top left, top right, bottom left, bottom right."""
PURPLE: Colour = (150, 40, 190)
SIDE_PANES = 46
"""Columns."""


def paint_quarters(canvas: Canvas) -> None:
    width, height = DESK[0] // 2, DESK[1] // 2
    for number, colour in enumerate(QUARTERS):
        canvas.paint(colour, number % 2 * width, number // 2 * height, width, height)


def has_desk_shape(box: Box) -> bool:
    """Whether the desk's aspect ratio is kept, to the nearest cell; a cell is twice as high as it is wide."""
    return abs(box.columns / (2 * box.rows) - DESK[0] / DESK[1]) < 1 / box.rows


def quarters_at(screen: Screen) -> Box | None:
    """Where the picture lies, when each half cell of it shows its quarter's colour; the seams may be blends."""
    box = screen.area_of(QUARTERS)
    if box is None or not has_desk_shape(box):
        return None
    for row in range(box.top, box.bottom):
        for column in range(box.left, box.right):
            for half, shown in enumerate(screen.halves(column, row)):
                across = (column - box.left + 0.5) / box.columns
                down = (row - box.top + half / 2 + 0.25) / box.rows
                seam = abs(across - 0.5) * box.columns <= 1 or abs(down - 0.5) * box.rows <= 1
                if not seam and not near(shown, QUARTERS[2 * (down > 0.5) + (across > 0.5)]):
                    return None
    return box


def wait_quarters(console: Terminal) -> Box:
    return console.wait(quarters_at, "four quarters, each of its colour")


@pytest.fixture(scope="module")
def console(ada: Person, office: str) -> Iterator[Terminal]:
    with ada.console(office) as terminal:
        yield terminal


def test_a_colour_on_the_desk_appears_at_the_right_cells(console: Terminal, canvas: Canvas) -> None:
    """Four quarters of four colours: the picture fills its pane, keeps its shape, and each half cell is right."""
    paint_quarters(canvas)
    box = wait_quarters(console)
    pane_columns, pane_rows = 120 - SIDE_PANES, 36 - 2
    assert box.columns == pane_columns
    assert has_desk_shape(box)
    assert box.left == 0
    assert abs((box.top - 1) - (1 + pane_rows - box.bottom)) <= 1, "it is in the middle of its pane"


def test_the_last_change_appears_though_nothing_follows(console: Terminal, canvas: Canvas) -> None:
    """A small change, and then a still desk: the terminal shows it, in its place and in its colour."""
    paint_quarters(canvas)
    box = wait_quarters(console)
    left, top, width, height = 500, 300, 120, 100
    canvas.paint(PURPLE, left, top, width, height)
    inside = [
        (column, row)
        for row in range(box.top, box.bottom)
        for column in range(box.left, box.right)
        if left < (column - box.left) / box.columns * DESK[0]
        and (column + 1 - box.left) / box.columns * DESK[0] < left + width
        and top < (row - box.top) / box.rows * DESK[1]
        and (row + 1 - box.top) / box.rows * DESK[1] < top + height
    ]
    assert len(inside) > 20
    # Video smears colours a little at an edge; a picture that is half a cell off would miss by more.
    console.wait(
        lambda screen: all(near(half, PURPLE, 40) for cell in inside for half in screen.halves(*cell)),
        "all of the square",
    )
    around = console.wait(lambda screen: screen.area_of([PURPLE]), "the square")
    assert around.columns <= width / DESK[0] * box.columns + 2
    assert around.rows <= height / DESK[1] * box.rows + 2


def test_each_of_many_changes_is_shown_in_turn(console: Terminal, canvas: Canvas) -> None:
    """The desk changes ten times, each as soon as the last one is seen: none is lost."""
    for number in range(10):
        colour = QUARTERS[number % 4]
        canvas.paint(colour)
        console.wait(
            lambda screen, wanted=colour: all(near(half, wanted) for half in screen.halves(20, 18)),  # type: ignore[misc]
            f"change {number}",
        )


def test_the_picture_follows_the_terminals_size(console: Terminal, canvas: Canvas) -> None:
    """A resized terminal shows the whole desk at its new size, and goes back."""
    paint_quarters(canvas)
    before = wait_quarters(console)
    console.resize(160, 48)
    wide = console.wait(
        lambda screen: (box := quarters_at(screen)) is not None and box.columns == 160 - SIDE_PANES and box,
        "a picture as wide as the larger pane",
    )
    assert has_desk_shape(wide)
    console.resize(120, 36)
    console.wait(lambda screen: quarters_at(screen) == before, "the picture as it was")


def test_the_picture_can_have_the_whole_terminal(console: Terminal, canvas: Canvas) -> None:
    """``f`` hides the panes and brings them back; the picture takes the room and gives it up."""
    paint_quarters(canvas)
    before = wait_quarters(console)
    console.send("f")
    wide = console.wait(
        lambda screen: (
            not screen.shows("Action log") and (box := quarters_at(screen)) is not None and box.rows > 30 and box
        ),
        "a larger picture",
    )
    assert wide.columns > before.columns + 20
    console.send("f")
    console.wait(lambda screen: screen.shows("Action log") and quarters_at(screen) == before, "the panes again")


def test_a_narrow_terminal_has_its_panes_below_the_picture(console: Terminal, canvas: Canvas) -> None:
    """On 80×24 the picture keeps the upper part for itself, and what waits and was done is still to be seen."""
    paint_quarters(canvas)
    console.resize(80, 24)
    console.wait(
        lambda screen: (
            screen.shows("Action log")
            and (box := quarters_at(screen)) is not None
            and 11 <= box.rows < box.bottom <= screen.row_of("Requests")
        ),
        "the picture above the panes",
    )
    console.resize(120, 36)
    wait_quarters(console)
