"""Coming and going: the console finds a desk, and leaves desk and terminal as they were."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from nexus_protocol.vocabulary import Role

from .harness import Person, Relay
from .processes import end_of
from .terminal import LEFT, Terminal
from .xdisplay import Canvas

ROSE = (210, 90, 140)
CTRL_Q = "\x11"


@pytest.fixture
def console(ada: Person, office: str, canvas: Canvas) -> Iterator[Terminal]:
    with ada.console(office) as terminal:
        wait_picture(terminal, canvas)
        yield terminal


def wait_picture(terminal: Terminal, canvas: Canvas) -> None:
    canvas.paint(ROSE)
    terminal.wait(lambda screen: (box := screen.area_of([ROSE])) is not None and box.columns == 74, "a rose desk")


def test_the_only_desk_need_not_be_named(relay: Relay, office: str) -> None:
    """With one desk to go to, the console goes there."""
    bob = relay.person("bob", Role.OPERATOR, office)
    with bob.console() as console:
        console.wait_text(f"{office}  live", "operator bob")


def test_among_several_desks_one_is_picked(relay: Relay, office: str, canvas: Canvas) -> None:
    """The names are listed; arrow and Enter choose, and the console goes there."""
    cleo = relay.person("cleo", Role.OPERATOR, "aside", office)
    with relay.agent("aside", "--synthetic"), cleo.console() as console:
        console.wait_text("Which desk?", "aside", office)
        console.send("\x1b[B\r")
        console.wait_text(f"{office}  live")
        wait_picture(console, canvas)


def test_a_desk_that_comes_later_is_offered(relay: Relay) -> None:
    """With no desk there, the console says so, and offers the first that comes."""
    dan = relay.person("dan", Role.OPERATOR, "morning")
    with dan.console() as console:
        console.wait_text("No desk is there")
        with relay.agent("morning", "--synthetic"):
            console.wait_text("Which desk?", "morning")
            console.send("\r")
            console.wait_text("morning  live")


@pytest.mark.parametrize("how", ["Ctrl+Q", "SIGTERM"])
def test_the_terminal_is_given_back_as_it_was(console: Terminal, how: str) -> None:
    """No alternate screen, mouse reports, pastes or hidden cursor stay on, and the line is in its mode again."""
    assert console.look(lambda screen: {1049, 1006, 2004} <= screen.modes)
    assert console.line_settings() != console.first_settings
    if how == "SIGTERM":
        console.process.send_signal(signal.SIGTERM)
    else:
        console.send(CTRL_Q)
    console.wait(lambda screen: not {1049, 1000, 1002, 1003, 1004, 1006, 2004} & screen.modes, "the modes to be off")
    assert end_of(console.process) == 0
    assert console.look(lambda screen: 25 in screen.modes), "the cursor is to be seen"
    assert console.line_settings() == console.first_settings


@pytest.mark.parametrize("how", ["hung up", "killed"])
def test_a_console_that_goes_lets_go_of_the_mouse(console: Terminal, canvas: Canvas, how: str) -> None:
    """With a button held down, the terminal is closed or the console killed: on the desk the button comes up."""
    console.mouse(LEFT, 30, 18)
    down = canvas.wait_event("press", 1)
    assert not [event for event in canvas.events() if event.kind == "release"]
    if how == "killed":
        console.process.kill()
    else:
        console.hang_up()
    up = canvas.wait_event("release", 1)
    assert (up.x, up.y) == (down.x, down.y)
    end_of(console.process)


def test_two_operators_share_a_desk(console: Terminal, relay: Relay, office: str, canvas: Canvas) -> None:
    """Both see the picture; each one's click is in the other's log; one leaving does not disturb the other."""
    eve = relay.person("eve", Role.OPERATOR)
    with eve.console(office) as other:
        wait_picture(other, canvas)
        other.click(40, 18)
        console.wait_text("eve click left at ")
        console.click(20, 18)
        other.wait_text("ada click left at ")
    canvas.forget()
    console.click(50, 18)
    canvas.wait_event("release", 1)
    assert console.look(lambda screen: screen.shows(f"{office}  live"))
