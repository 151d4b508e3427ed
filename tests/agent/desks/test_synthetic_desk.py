"""The drawn desk: it reacts to every kind of input, and to nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from nexus_agent.capture import DeskLost
from nexus_agent.desks import open_desk
from nexus_agent.desks.scenery import COLOURS
from nexus_agent.desks.synthetic import SyntheticDesk
from nexus_agent.input import gestures
from nexus_protocol.actions import Region
from nexus_protocol.errors import NexusError
from nexus_protocol.keys import parse_chord
from nexus_protocol.vocabulary import Button


@pytest.fixture
def drawn() -> Iterator[SyntheticDesk]:
    desk = SyntheticDesk((640, 400))
    yield desk
    desk.capture.close()


async def test_it_is_opened_by_its_option() -> None:
    """1280×800, and nothing is there to set in a program's environment."""
    desk = await open_desk(synthetic=True)
    assert (desk.kind, desk.capture.size, desk.environment) == ("synthetic", (1280, 800), {})
    await desk.close()
    await desk.close()
    with pytest.raises(DeskLost):
        desk.capture.grab()


def test_the_same_state_gives_the_same_pixels(drawn: SyntheticDesk) -> None:
    """Two desks agree to the last pixel, and one desk with itself."""
    other = SyntheticDesk((640, 400))
    for desk in (drawn, other):
        desk.input.text("héllo wörld €")
    assert np.array_equal(drawn.capture.grab(), other.capture.grab())
    assert np.array_equal(drawn.capture.grab(), drawn.capture.grab())


def test_a_region_is_part_of_the_whole(drawn: SyntheticDesk) -> None:
    """Contiguous, and refused off the desk."""
    part = drawn.capture.grab(Region(x=30, y=40, width=50, height=60))
    assert part.shape == (60, 50, 4)
    assert part.flags.c_contiguous
    assert np.array_equal(part, drawn.capture.grab()[40:100, 30:80])
    with pytest.raises(NexusError, match="leaves the desk"):
        drawn.capture.grab(Region(x=639, y=0, width=2, height=1))


def test_typed_text_appears_and_can_be_erased(drawn: SyntheticDesk) -> None:
    """By text and by chords."""
    empty = drawn.capture.grab()
    drawn.input.text("ab\n")
    for chord in ("C", "shift+d", "space", "é", "+", "ctrl+x", "backspace"):
        drawn.input.chord(parse_chord(chord))
    assert drawn.text == "ab\nCD é"
    assert not np.array_equal(drawn.capture.grab(), empty)
    for _ in range(20):
        drawn.input.chord(parse_chord("backspace"))
    assert drawn.text == ""
    assert np.array_equal(drawn.capture.grab(), empty)


def test_control_characters_are_refused(drawn: SyntheticDesk) -> None:
    """As on every desk."""
    with pytest.raises(NexusError, match=r"U\+001B"):
        drawn.input.text("a\x1b")
    assert drawn.text == ""


@pytest.mark.parametrize("colour", COLOURS)
def test_clicking_a_colour_chooses_it(drawn: SyntheticDesk, colour: str) -> None:
    """The click is remembered with its place, and the chosen button looks different."""
    x, y = drawn.place_of(colour)
    blue, green, red = drawn.capture.grab()[y, x, :3].tolist()
    assert (red, green, blue) == COLOURS[colour]
    gestures.click(drawn.input, *drawn.place_of("sky" if colour == "coral" else "coral"))
    before = drawn.capture.grab()
    gestures.click(drawn.input, x, y)
    assert drawn.colour == colour
    assert drawn.clicks[-1] == (x, y, Button.LEFT)
    assert not np.array_equal(drawn.capture.grab(), before)


def test_a_drag_draws_a_line(drawn: SyntheticDesk) -> None:
    """In the chosen colour, from start to end."""
    x, y = drawn.place_of("canvas")
    gestures.click(drawn.input, *drawn.place_of("mint"))
    gestures.drag(drawn.input, x - 40, y, x + 40, y)
    (stroke,) = drawn.strokes
    assert (stroke[0], stroke[-1]) == ((x - 40, y), (x + 40, y))
    assert drawn.capture.grab()[y, x, 2::-1].tolist() == list(COLOURS["mint"])


async def test_only_input_changes_it(drawn: SyntheticDesk) -> None:
    """A watcher hears of what is visible, from whatever thread it comes, and of nothing else."""
    changed = asyncio.Event()
    drawn.capture.watch(changed.set)
    for act in (
        lambda: drawn.input.move(3, 3),
        lambda: drawn.input.text("x"),
        lambda: drawn.input.scroll(0, 1),
    ):
        await asyncio.to_thread(act)
        async with asyncio.timeout(5):
            await changed.wait()
        changed.clear()
    drawn.input.move(3, 3)
    drawn.input.chord(parse_chord("ctrl+c"))
    drawn.input.release_all()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await changed.wait()


def test_release_all_ends_a_drag(drawn: SyntheticDesk) -> None:
    """Moves afterwards draw nothing."""
    x, y = drawn.place_of("canvas")
    drawn.input.move(x, y)
    drawn.input.button(Button.LEFT, True)
    drawn.input.release_all()
    drawn.input.move(x + 9, y)
    assert drawn.strokes == [[(x, y)]]


def test_the_pointer_stays_on_the_desk(drawn: SyntheticDesk) -> None:
    """Points beyond land on the edge, and it is drawn there."""
    drawn.input.move(9_999, 9_999)
    assert drawn.pointer == (639, 399)
    drawn.capture.grab()
