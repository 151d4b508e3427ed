"""Permissions: what has to be asked for waits, runs once when somebody says yes, and never otherwise."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Person, Relay
from .terminal import Box, Screen, Terminal
from .xdisplay import DESK, Canvas

HASTY = "hasty"
"""A desk whose requests wait for a few seconds only: long enough to be seen when all cores are busy."""
BLUE = (50, 70, 220)

Place = tuple[int, int]


@pytest.fixture(scope="module")
def hasty(relay: Relay, display: str, office: str) -> Iterator[str]:
    with relay.agent(HASTY, "--display", display, policy='timeout = "3s"'):
        yield HASTY


@pytest.fixture(scope="module")
def console(ada: Person, office: str) -> Iterator[Terminal]:
    """An operator's console."""
    with ada.console(office) as terminal:
        yield terminal


@pytest.fixture(scope="module")
def watching(guest: Person, office: str) -> Iterator[Terminal]:
    """A viewer's console."""
    with guest.console(office) as terminal:
        terminal.wait_text(f"{office}  live", "viewer guest")
        yield terminal


def picture(console: Terminal, canvas: Canvas) -> Box:
    """Where the desk lies, painted in one colour."""
    canvas.paint(BLUE)
    return console.wait(
        lambda screen: (box := screen.area_of([BLUE])) is not None and box.columns == 74 and box.rows >= 22 and box,
        "a blue desk",
    )


def click_at(place: Place) -> tuple[str, str, str]:
    return "click", str(place[0]), str(place[1])


def wait_logged(console: Terminal, place: Place, result: str) -> None:
    """A click of the robot there, with its result on the line below."""

    def logged(screen: Screen) -> bool:
        lines = screen.display
        return any(
            f"robot click left at {place[0]},{place[1]} " in line and result in below
            for line, below in itertools.pairwise(lines)
        )

    console.wait(logged, f"a click at {place} in the log: {result}")


def cell_of(box: Box, place: Place) -> tuple[int, int]:
    """The cell that holds a desk pixel."""
    x, y = place
    return box.left + int((x + 0.5) * box.columns / DESK[0]), box.top + int((y + 0.5) * box.rows / DESK[1])


def marks_at(screen: Screen, cell: tuple[int, int]) -> tuple[str, str, str]:
    """What stands right around a cell, at two corners of a small ring, and at those of a large one."""
    column, row = cell
    shapes = (((-2, 0), (-1, 0), (1, 0), (2, 0), (0, -1), (0, 1)), ((-2, -1), (2, 1)), ((-4, -2), (4, 2)))
    cross, small, large = (
        "".join(screen.glyph(column + across, row + down) for across, down in shape) for shape in shapes
    )
    return cross, small, large


def wait_pulse(console: Terminal, cell: tuple[int, int]) -> None:
    """Both phases of the mark. When the second comes, a decision key is no longer too early to be meant."""
    console.wait(lambda screen: marks_at(screen, cell)[:2] == ("────││", "┌┘"), "the small ring of a pulse")
    console.wait(lambda screen: marks_at(screen, cell)[::2] == ("────││", "┌┘"), "the large ring of a pulse")


def assert_only_clicked(canvas: Canvas, ada: Person, office: str, *places: Place) -> None:
    """All that has reached the desk, now that a last click has."""
    last = (DESK[0] - 2, DESK[1] - 2)
    assert ada.act(office, *click_at(last)).status == 0
    canvas.wait(lambda events: any(e.kind == "release" and (e.x, e.y) == last for e in events))
    assert canvas.clicks() == [*places, last]


def test_an_approved_click_runs_once(
    console: Terminal, watching: Terminal, canvas: Canvas, robot: Person, ada: Person, office: str
) -> None:
    """It waits, is shown with who and what, pulses on the picture, runs on ``a``, and everyone's log tells."""
    place = (300, 200)
    cell = cell_of(picture(console, canvas), place)
    with robot.acting(office, *click_at(place)) as asking:
        assert asking.line("nexus-tui: ", "error") == "nexus-tui: waiting for somebody to approve this…"
        console.wait_text("robot (automation) asks to click", "left at 300,200", "needs click", "a: approve   x: deny")
        wait_pulse(console, cell)
        assert canvas.clicks() == []
        assert asking.process.poll() is None

        console.send("a")
        assert asking.ended().status == 0
        down = canvas.wait_event("press", 1)
        assert (down.x, down.y) == place
        for terminal in (console, watching):
            wait_logged(terminal, place, "done")
        console.wait_text("Nobody is waiting for permission")
        console.wait(lambda screen: "─" not in marks_at(screen, cell)[0], "a picture without marks")
    assert_only_clicked(canvas, ada, office, place)


def test_a_denied_click_never_runs(
    console: Terminal, watching: Terminal, canvas: Canvas, robot: Person, ada: Person, office: str
) -> None:
    """``x`` refuses it: exit status 3, one line that says who refused, nothing on the desk."""
    place = (400, 130)
    cell = cell_of(picture(console, canvas), place)
    with robot.acting(office, *click_at(place)) as asking:
        wait_pulse(console, cell)
        console.send("x")
        done = asking.ended()
    assert (done.status, done.out) == (3, "")
    assert done.error.splitlines()[-1] == "nexus-tui: denied: by ada"
    for terminal in (console, watching):
        wait_logged(terminal, place, "denied: by ada")
    console.wait_text("Nobody is waiting for permission")
    assert_only_clicked(canvas, ada, office)


def test_a_click_that_nobody_answers_expires(
    canvas: Canvas, robot: Person, ada: Person, hasty: str, office: str
) -> None:
    """No answer in its time is a no: exit status 3, and an operator's late key finds nothing to approve."""
    place = (310, 210)
    with ada.console(hasty) as console:
        console.wait_text(f"{hasty}  live")
        with robot.acting(hasty, *click_at(place)) as asking:
            console.wait_text("robot (automation) asks to click")
            done = asking.ended()
        assert done.status == 3
        assert done.error.splitlines()[-1] == "nexus-tui: expired: nobody decided in time"
        wait_logged(console, place, "expired: nobody decided in time")
        console.wait_text("Nobody is waiting for permission")
        console.send("a")
        assert_only_clicked(canvas, ada, office)


def test_a_click_that_nobody_sees_expires(canvas: Canvas, robot: Person, ada: Person, hasty: str, office: str) -> None:
    """With no console on the desk an automation is refused in the end, and does not wait for ever."""
    done = robot.act(hasty, *click_at((5, 5)))
    assert done.status == 3
    assert done.error.splitlines()[-1] == "nexus-tui: expired: nobody decided in time"
    assert_only_clicked(canvas, ada, office)


def test_an_approved_command_runs_once(console: Terminal, robot: Person, office: str, tmp_path: Path) -> None:
    """The request shows the whole command, one argument on a line; approved, it runs exactly once."""
    trace = tmp_path / "trace"
    with robot.acting(office, "exec", "--", "sh", "-c", "echo ran >> $0; echo said", str(trace)) as asking:
        console.wait_text("asks to execute", "echo ran >> $0; echo said", "needs execute")
        console.wait(lambda screen: re.search(r"\b[1-5]\d s left", screen.text), "the request to stand a while")
        console.send("a")
        done = asking.ended()
    assert (done.status, done.out) == (0, "said\n")
    assert trace.read_text(encoding="utf-8") == "ran\n"


def test_a_console_that_comes_later_finds_the_request(robot: Person, ada: Person, office: str, canvas: Canvas) -> None:
    """A request that was there first is shown, and can be decided, when the operator arrives."""
    place = (500, 350)
    with robot.acting(office, *click_at(place)) as asking:
        asking.line("nexus-tui: ", "error")
        with ada.console(office) as late:
            wait_pulse(late, cell_of(picture(late, canvas), place))
            late.send("a")
            assert asking.ended().status == 0
    assert_only_clicked(canvas, ada, office, place)


def test_a_viewer_sees_no_request_and_decides_nothing(
    console: Terminal, watching: Terminal, canvas: Canvas, robot: Person, ada: Person, office: str
) -> None:
    """The viewer's ``a`` does nothing: the request waits on until the operator says no."""
    place = (210, 300)
    cell = cell_of(picture(console, canvas), place)
    with robot.acting(office, *click_at(place)) as asking:
        wait_logged(watching, place, "waiting")
        wait_pulse(console, cell)
        watching.send("a?")
        watching.wait_text("keys and commands")  # so the key before has been dealt with
        watching.send("q")
        assert watching.look(lambda screen: not screen.shows("asks to click"))
        assert asking.process.poll() is None
        console.send("x")
        assert asking.ended().status == 3
    assert_only_clicked(canvas, ada, office)
