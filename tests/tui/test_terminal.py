"""Asking a terminal for its colours, on a pseudo-terminal whose other end answers as real ones do."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from nexus_tui.core import terminal


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def answer(descriptor: int, said: bytes) -> threading.Thread:
    """Wait for the whole question, then say ``said``."""

    def play() -> None:
        asked = b""
        while not asked.endswith(b"\x1b[c"):
            asked += os.read(descriptor, 1024)
        os.write(descriptor, said)

    thread = threading.Thread(target=play)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("said", "truecolor"),
    [
        (b"\x1bP1$r0;48:2::1:2:3m\x1b\\\x1b[?64;1;2c", True),  # xterm
        (b"\x1bP1$r48;2;1;2;3m\x1b\\\x1b[?62c", True),  # others, with semicolons
        (b"\x1bP1$r0;48;5;16m\x1b\\\x1b[?62c", False),  # the nearest of 256 colours
        (b"\x1bP0$r\x1b\\\x1b[?62c", False),  # the request is not known
        (b"\x1b[?1;2c", False),  # not even answered
    ],
)
def test_a_terminal_that_keeps_a_24_bit_colour_has_them_all(pty: tuple[int, int], said: bytes, truecolor: bool) -> None:
    """DECRQSS repeats the colour exactly, or it does not."""
    thread = answer(pty[0], said)
    assert terminal.ask_truecolor(pty[1]) is truecolor
    thread.join()


def test_a_terminal_that_says_nothing_is_not_waited_for(pty: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its patience over, the console goes on with fewer colours."""
    monkeypatch.setattr(terminal, "PATIENCE", 0.0)
    assert terminal.ask_truecolor(pty[1]) is False


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, True),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/socket,1,0"}, True),
        ({"TERM": "linux"}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({}, False),
        ({"TERM": "xterm-256color"}, None),
    ],
)
def test_what_the_environment_says_is_not_asked_again(environment: dict[str, str], told: bool | None) -> None:
    """Only where it says nothing the terminal is asked."""
    assert terminal.tells_truecolor(environment) is told
