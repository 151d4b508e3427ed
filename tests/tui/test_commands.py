"""The one table of commands, its keys, and text that is safe to show."""

from __future__ import annotations

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
    keys, problems = keymap({"drive": "f2, d", "aprove": "y", "deny": 3, "leave_drive": " "})
    assert keys["drive"] == ("f2", "d")
    assert (keys["deny"], keys["leave_drive"]) == (("x",), (LEAVE_DRIVE,))
    assert [str(problem) for problem in problems] == [
        "[keys]: unknown key 'aprove'; did you mean 'approve'?",
        "[keys]: deny is not text; write several keys as deny = 'f2,d'",
        "[keys]: leave_drive needs a key, or nothing would leave drive mode",
    ]


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
