"""The one table of commands, its keys, and text that is safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_tui.core.commands import COMMANDS, LEAVE_DRIVE, keymap, show_key
from nexus_tui.core.text import visible, visible_lines
from nexus_tui.screens.main import MainScreen


def test_no_key_means_two_commands() -> None:
    """Else the footer would lie about one of them."""
    keys = [key for command in COMMANDS for key in command.keys]
    assert len(keys) == len(set(keys))


def test_every_command_does_something() -> None:
    """Each command of the table has its code: the application's own two, and the main screen's."""
    missing = [c.id for c in COMMANDS if c.id not in ("palette", "quit") and not hasattr(MainScreen, f"_do_{c.id}")]
    assert missing == []


def test_keys_can_be_changed_and_a_typo_is_named_without_harm() -> None:
    """What is wrong is said with the nearest name; everything else holds."""
    keys, problems = keymap({"drive": "F2, ?", "help": "f1", "aprove": "y", "deny": 3, "log": "ctrl-l", "side": "v"})
    assert keys["drive"] == ("f2", "question_mark")
    assert (keys["deny"], keys["log"], keys["side"]) == (("x",), ("l",), ("f",))
    assert [str(problem) for problem in problems] == [
        "[keys]: unknown key 'aprove'; did you mean 'approve'?",
        "[keys]: deny is not text; write several keys as deny = 'f2,d'",
        "[keys]: log: 'ctrl-l' in 'ctrl-l' is not a known key; did you mean ctrl?",
        "[keys]: v means view_only already; it cannot mean side too",
    ]


def test_two_commands_can_swap_their_keys() -> None:
    """What counts is whether a key means two things in the end."""
    keys, problems = keymap({"approve": "x", "deny": "a"})
    assert (keys["approve"], keys["deny"], problems) == (("x",), ("a",), [])


@pytest.mark.parametrize("written", ["ctrl+]", "Ctrl+]", "ctrl+right_square_bracket", "f12", "", "nonsense"])
def test_what_leaves_drive_mode_always_does(written: str) -> None:
    """Whatever the settings say: nobody is locked in."""
    keys, _ = keymap({"leave_drive": written})
    assert LEAVE_DRIVE in keys["leave_drive"]


def test_keys_are_shown_as_people_write_them() -> None:
    """In footer and help."""
    shown = [show_key(key) for key in ("ctrl+right_square_bracket", "question_mark", "f1", "ctrl+p", "a", "enter")]
    assert shown == ["Ctrl+]", "?", "F1", "Ctrl+P", "a", "Enter"]


@given(st.text())
def test_text_from_a_peer_cannot_steer_the_terminal(text: str) -> None:
    """No control character survives, and none is dropped without a trace."""
    shown = visible(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert all(line.isprintable() for line in visible_lines(text).split("\n"))
