"""Injecting keys and pointer into a real X server, as real programs receive them."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from nexus_agent.desks import Desk
from nexus_agent.input import gestures
from nexus_agent.input.xtest import XTestInput
from nexus_protocol.errors import NexusError
from nexus_protocol.keys import MODIFIERS, NAMED_KEYS, parse_chord
from nexus_protocol.vocabulary import Button

xproto: Any = import_module("xcffib.xproto")
xkb: Any = import_module("xcffib.xkb")
DEADLINE = 20.0
CONTROL, SHIFT, LOCK = 4, 1, 2

# Copies standard input to a file byte by byte, then says so in a pipe: the test waits on that, not on the clock.
RECORDER = """
import os, sys, tty
tty.setraw(0)
pipe = os.open(sys.argv[1], os.O_WRONLY)
os.write(pipe, b"\\0")
while data := os.read(0, 4096):
    os.write(pipe, data)
"""


class Terminal:
    """A real xterm over the whole screen; what is typed into it can be read."""

    def __init__(self, display: str, folder: Path) -> None:
        fifo = folder / "typed"
        os.mkfifo(fifo)
        script = folder / "recorder.py"
        script.write_text(RECORDER)
        self._process = subprocess.Popen(
            ["xterm", "-u8", "-geometry", "200x60+0+0", "-e", sys.executable, str(script), str(fifo)],
            env={**os.environ, "DISPLAY": display, "LC_ALL": "C.UTF-8"},
            stderr=subprocess.DEVNULL,
        )
        self._pipe = open(fifo, "rb", buffering=0)  # noqa: SIM115 - closed in close()
        os.set_blocking(self._pipe.fileno(), True)
        self.read(1)

    def read(self, count: int) -> bytes:
        """The next `count` bytes typed."""
        data = bytearray()
        guard = threading.Timer(DEADLINE, self._process.kill)
        guard.start()
        try:
            while len(data) < count and (more := self._pipe.read(count - len(data))):
                data += more
        finally:
            guard.cancel()
            guard.join()
        return bytes(data)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._pipe.close()


@pytest.fixture
def terminal(display: str, tmp_path: Path, desk: Desk) -> Iterator[Terminal]:
    """An xterm under the pointer, so that it has the keyboard."""
    desk.input.move(50, 50)
    opened = Terminal(display, tmp_path)
    yield opened
    opened.close()


def distinct_characters(count: int, seed: int) -> str:
    """Letters of many scripts that no layout of the test server has."""
    choice = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        character = chr(choice.randrange(0x100, 0x1_F9FF))
        if unicodedata.category(character) in ("Ll", "Lu", "Lo", "So", "Sm") and character not in found:
            found.append(character)
    return "".join(found)


def give_focus_to_the_pointer(client: Any) -> None:
    client.core.SetInputFocusChecked(xproto.InputFocus.PointerRoot, xproto.InputFocus.PointerRoot, 0).check()


def typed(desk: Desk, terminal: Terminal, text: str) -> str:
    desk.input.text(text)
    return terminal.read(len(text.replace("\n", "\r").encode())).decode().replace("\r", "\n")


def test_any_text_lands_in_a_real_xterm_exactly(desk: Desk, terminal: Terminal) -> None:
    """Accents, the euro sign, kanji, shifted signs, and more strange characters than there are spare keys."""
    text = "héllo wörld €, 日本 ~{}|\n\tThe Quick (brown) 'fox'; <jumps> 😀\n" + distinct_characters(40, seed=1) + "\n"
    assert typed(desk, terminal, text) == text


def test_short_texts_in_quick_succession_do_not_overtake_each_other(desk: Desk, terminal: Terminal) -> None:
    """Each call needs other spare keys than the last; none is taken away before xterm has looked it up."""
    parts = [distinct_characters(7, seed) for seed in range(10, 18)]
    for part in parts:
        desk.input.text(part)
    text = "".join(parts)
    assert terminal.read(len(text.encode())).decode() == text


def test_caps_lock_does_not_invert_letters(desk: Desk, terminal: Terminal, client: Any) -> None:
    """Text comes out as written while Caps Lock is on, and Caps Lock is still on afterwards."""
    give_focus_to_the_pointer(client)
    locked: Callable[[], bool] = lambda: bool(client.core.QueryPointer(client.screen.root).reply().mask & LOCK)  # noqa: E731
    desk.input.chord(parse_chord("capslock"))
    try:
        assert locked()
        assert typed(desk, terminal, "Ab é É 1!") == "Ab é É 1!"
        assert locked()
    finally:
        desk.input.chord(parse_chord("capslock"))
    assert not locked()


def test_the_layout_can_change_under_way(desk: Desk, terminal: Terminal, display: str, client: Any) -> None:
    """The same text comes out on another layout, in a second group, and when the first layout is back."""
    give_focus_to_the_pointer(client)
    text = "Zyx /?é€ñ"
    try:
        assert typed(desk, terminal, text) == text
        subprocess.run(["setxkbmap", "-display", display, "de"], check=True)
        assert typed(desk, terminal, text) == text
        subprocess.run(["setxkbmap", "-display", display, "us,ru"], check=True)
        assert typed(desk, terminal, text) == text
        second_group = client.connection(xkb.key)
        second_group.UseExtension(1, 0).reply()
        second_group.LatchLockStateChecked(0x100, 0, 0, True, 1, 0, False, 0).check()
        assert typed(desk, terminal, text) == text
        assert second_group.GetState(0x100).reply().lockedGroup == 1
    finally:
        subprocess.run(["setxkbmap", "-display", display, "us"], check=True)
    assert typed(desk, terminal, text) == text


def test_the_keyboard_map_is_left_as_found(display: str, client: Any) -> None:
    """Spare keys are lent while the Input is open, and empty again when it is closed."""
    before = client.keymap()
    driver = XTestInput(display)
    driver.text(distinct_characters(30, seed=3))
    assert client.keymap() != before
    driver.close()
    assert client.keymap() == before


@pytest.mark.parametrize("text", ["fine until \x1b here", "bell\x07", "\r", "half \ud800 pair"])
def test_control_characters_are_refused_before_anything_is_typed(desk: Desk, client: Any, text: str) -> None:
    """The error says which character; no key event reaches the program."""
    with pytest.raises(NexusError, match=r"character \d+ of the text .*U\+[0-9A-F]{4}"):
        desk.input.text(text)
    desk.input.chord(parse_chord("x"))
    client.wait(lambda: len(client.seen(xproto.KeyReleaseEvent)) == 1)


@pytest.mark.parametrize(
    ("chord", "keycodes", "state"),
    [
        ("ctrl+c", [37, 54], CONTROL),
        ("a", [38], 0),
        ("A", [50, 38], SHIFT),
        ("?", [50, 61], SHIFT),
        ("ctrl+shift+t", [37, 50, 28], CONTROL | SHIFT),
        ("ctrl+A", [37, 50, 38], CONTROL | SHIFT),
        ("super", [133], 0),
        ("enter", [36], 0),
        ("alt+f4", [64, 70], 8),
    ],
)
def test_chords_press_modifiers_first_and_release_in_reverse(
    desk: Desk, client: Any, chord: str, keycodes: list[int], state: int
) -> None:
    """The keys of a pc105 keyboard, and the modifier state that the last key is pressed with."""
    desk.input.chord(parse_chord(chord))
    client.wait(lambda: len(client.seen(xproto.KeyReleaseEvent)) == len(keycodes))
    presses = client.seen(xproto.KeyPressEvent)
    assert [event.detail for event in presses] == keycodes
    assert [event.detail for event in client.seen(xproto.KeyReleaseEvent)] == keycodes[::-1]
    assert presses[-1].state == state


def test_every_key_name_can_be_pressed(desk: Desk, client: Any) -> None:
    """All names of the protocol, those that no keyboard has (f24) included."""
    names = sorted(NAMED_KEYS | set(MODIFIERS))
    for name in names:
        desk.input.chord(parse_chord(name))
    for lock in ("capslock", "numlock", "scrolllock"):
        desk.input.chord(parse_chord(lock))
    client.wait(lambda: len(client.seen(xproto.KeyReleaseEvent)) >= len(names) + 3)


@pytest.mark.parametrize(("button", "number"), [(Button.LEFT, 1), (Button.MIDDLE, 2), (Button.RIGHT, 3)])
def test_a_click_lands_on_the_exact_pixel(desk: Desk, client: Any, button: Button, number: int) -> None:
    """At the corners of the window and in it."""
    places = [(0, 0), (client.width - 1, client.height - 1), (123, 45)]
    for x, y in places:
        gestures.click(desk.input, client.x + x, client.y + y, button)
    client.wait(lambda: len(client.seen(xproto.ButtonReleaseEvent)) == len(places))
    for kind in (xproto.ButtonPressEvent, xproto.ButtonReleaseEvent):
        seen = [(event.event_x, event.event_y, event.detail) for event in client.seen(kind)]
        assert seen == [(x, y, number) for x, y in places]


def test_a_double_click_is_two_presses(desk: Desk, client: Any) -> None:
    """Close enough in time for any toolkit."""
    gestures.click(desk.input, client.x + 5, client.y + 5, count=2)
    client.wait(lambda: len(client.seen(xproto.ButtonReleaseEvent)) == 2)
    first, second = client.seen(xproto.ButtonPressEvent)
    assert second.time - first.time < 250


def test_left_handed_buttons_are_seen_through(desk: Desk, client: Any) -> None:
    """With the buttons swapped on the desk, a left click is still a left click to programs."""
    swapped = [3, 2, 1, *range(4, len(client.core.GetPointerMapping().reply().map) + 1)]
    client.core.SetPointerMapping(len(swapped), swapped).reply()
    try:
        gestures.click(desk.input, client.x + 5, client.y + 5, Button.LEFT)
        client.wait(lambda: client.seen(xproto.ButtonReleaseEvent))
        assert client.seen(xproto.ButtonPressEvent)[0].detail == 1
    finally:
        client.core.SetPointerMapping(len(swapped), sorted(swapped)).reply()


def test_a_drag_moves_in_steps_with_the_button_down(desk: Desk, client: Any) -> None:
    """Press at the start, several motions, release at the end."""
    gestures.drag(desk.input, client.x + 10, client.y + 20, client.x + 210, client.y + 120)
    client.wait(lambda: client.seen(xproto.ButtonReleaseEvent))
    press, release = client.seen(xproto.ButtonPressEvent, xproto.ButtonReleaseEvent)
    assert (press.event_x, press.event_y) == (10, 20)
    assert (release.event_x, release.event_y) == (210, 120)
    held = [event for event in client.seen(xproto.MotionNotifyEvent) if event.state & 0x100]
    assert len(held) >= 5
    assert [event.event_x for event in held] == sorted(event.event_x for event in held)


def test_scroll_turns_the_wheel_by_notches(desk: Desk, client: Any) -> None:
    """Down and right are positive: buttons 5 and 7; up and left 4 and 6."""
    gestures.scroll(desk.input, client.x + 30, client.y + 40, dx=1, dy=3)
    gestures.scroll(desk.input, client.x + 30, client.y + 40, dx=-2, dy=-1)
    client.wait(lambda: len(client.seen(xproto.ButtonReleaseEvent)) == 7)
    assert [event.detail for event in client.seen(xproto.ButtonPressEvent)] == [5, 5, 5, 7, 4, 6, 6]


def test_release_all_releases_what_is_held_and_only_once(desk: Desk, client: Any) -> None:
    """A second call sends nothing."""
    desk.input.move(client.x + 5, client.y + 5)
    desk.input.button(Button.LEFT, True)
    desk.input.button(Button.RIGHT, True)
    desk.input.release_all()
    desk.input.release_all()
    desk.input.chord(parse_chord("x"))
    client.wait(lambda: client.seen(xproto.KeyReleaseEvent))
    assert sorted(event.detail for event in client.seen(xproto.ButtonReleaseEvent)) == [1, 3]
    assert not client.core.QueryPointer(client.screen.root).reply().mask


async def test_release_all_stops_a_long_text(desk: Desk, client: Any) -> None:
    """The text ends in an error that says how far it came, and no key stays down."""
    text = "abcdefgh" * 2_000
    typing = asyncio.create_task(asyncio.to_thread(desk.input.text, text))
    await asyncio.to_thread(client.wait, lambda: client.seen(xproto.KeyPressEvent))
    desk.input.release_all()
    with pytest.raises(NexusError, match=r"stopped after \d+ of 16000 characters"):
        await typing
    down = client.core.QueryKeymap().reply().keys
    assert not any(down)


def test_closing_releases_and_a_second_close_is_harmless(display: str, client: Any) -> None:
    """A button held when the Input closes does not stay down."""
    driver = XTestInput(display)
    driver.move(client.x + 5, client.y + 5)
    driver.button(Button.LEFT, True)
    driver.close()
    driver.close()
    client.wait(lambda: client.seen(xproto.ButtonReleaseEvent))


def test_a_lost_server_is_an_error_and_not_a_crash(start_xvfb: Any) -> None:
    """Every primitive raises the same one-line error; close does not raise."""
    with start_xvfb() as (name, process):
        driver = XTestInput(name)
        process.kill()
        process.wait()
        acts: tuple[Callable[[], None], ...] = (
            lambda: driver.text("a"),
            lambda: driver.chord(parse_chord("a")),
            lambda: driver.button(Button.LEFT, True),
            lambda: driver.scroll(0, 1),
            driver.release_all,
        )
        for act in acts:
            with pytest.raises(NexusError, match=f"the X server of {name} went away"):
                act()
        driver.close()
