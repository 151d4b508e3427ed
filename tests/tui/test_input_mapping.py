"""Keys and mouse, from what the terminal tells to actions on the desk."""

from __future__ import annotations

import pytest

from nexus_protocol.actions import Click, Drag, Key, Move, Press, Release, Scroll, Type
from nexus_protocol.vocabulary import Button
from nexus_tui.core.keys import action_for_key
from nexus_tui.core.pointer import Gestures


@pytest.mark.parametrize("text", ["a", "A", "é", "€", "日", "+", " ", "~", "😀"])
def test_a_character_is_typed_as_it_is(text: str) -> None:
    """Whatever the keyboard is, the text goes over."""
    assert action_for_key("some_name", text) == Type(text=text)


@pytest.mark.parametrize(
    ("key", "character", "chord"),
    [
        ("enter", "\r", "enter"),
        ("escape", "\x1b", "escape"),
        ("tab", "\t", "tab"),
        ("delete", "\x7f", "delete"),
        ("backspace", "\x7f", "backspace"),
        ("shift+tab", None, "shift+tab"),
        ("ctrl+c", "\x03", "ctrl+c"),
        ("ctrl+q", "\x11", "ctrl+q"),
        ("ctrl+@", "\x00", "ctrl+space"),
        ("ctrl+backslash", "\x1c", "ctrl+\\"),
        ("ctrl+left_square_bracket", None, "ctrl+["),
        ("ctrl+underscore", None, "ctrl+_"),
        ("alt+x", "x", "alt+x"),
        ("alt+minus", None, "alt+-"),
        ("ctrl+shift+pageup", None, "ctrl+shift+pageup"),
        ("f12", None, "f12"),
    ],
)
def test_a_key_without_a_character_of_its_own_becomes_a_chord(key: str, character: str | None, chord: str) -> None:
    """Named keys, control characters and everything with Ctrl or Alt."""
    assert action_for_key(key, character) == Key(chord=chord)


def test_a_key_the_desk_does_not_have_is_no_action() -> None:
    """It is said, rather than something else pressed."""
    assert action_for_key("launch_mail", None) is None


def test_where_clicks_are_allowed_buttons_go_down_and_up_as_they_do_here() -> None:
    """A drag is seen on the desk while it is dragged."""
    pointer = Gestures(live=True)
    assert pointer.action("down", 1, 2, Button.RIGHT) == Press(x=1, y=2, button=Button.RIGHT)
    assert pointer.action("drag", 3, 4, Button.RIGHT) == Move(x=3, y=4)
    assert pointer.action("up", 5, 6, Button.RIGHT) == Release(x=5, y=6, button=Button.RIGHT)


def test_where_clicks_are_asked_for_a_whole_gesture_is_one_action() -> None:
    """A person can judge a click or a drag, not half of one."""
    pointer = Gestures(live=False, follow=True)
    assert pointer.action("down", 1, 2, Button.LEFT) is None
    assert pointer.action("up", 1, 2, Button.LEFT) == Click(x=1, y=2)
    assert pointer.action("down", 1, 2, Button.LEFT) is None
    assert pointer.action("drag", 3, 4, Button.LEFT) is None
    assert pointer.action("up", 5, 6, Button.LEFT) == Drag(x=1, y=2, to_x=5, to_y=6)
    assert pointer.action("move", 7, 8, None) is None
    assert pointer.action("scroll", 7, 8, None, 0, -1) == Scroll(x=7, y=8, dy=-1)


def test_the_desks_pointer_follows_the_mouse_only_when_asked_to() -> None:
    """In command mode a mouse that merely passes over the picture moves nothing."""
    assert Gestures(live=True, follow=False).action("move", 1, 2, None) is None
    assert Gestures(live=True, follow=True).action("move", 1, 2, None) == Move(x=1, y=2)
