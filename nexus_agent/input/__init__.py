"""How keys and the pointer of a desktop are driven: the interface, and the checks all kinds share.

The kinds are `xtest` (X11), `pyautogui_input` (elsewhere) and `desks.synthetic`. `gestures` makes clicks and drags
of these primitives. Whether somebody may do any of it is decided before it gets here.
"""

from __future__ import annotations

import unicodedata
from typing import Protocol

from nexus_protocol.errors import NexusError
from nexus_protocol.keys import Chord
from nexus_protocol.vocabulary import Button


class Input(Protocol):
    """Primitives, callable from any thread. All are short but `text`, which belongs in a worker thread."""

    def move(self, x: int, y: int) -> None:
        """Put the pointer on a pixel of the desk; points off the desk land on its edge."""

    def button(self, button: Button, pressed: bool) -> None:
        """Press or release a button where the pointer is."""

    def scroll(self, dx: int, dy: int) -> None:
        """Turn the wheel; positive notches go right and down."""

    def chord(self, chord: Chord) -> None:
        """Press the modifiers in order, then the key; release them in reverse."""

    def text(self, text: str) -> None:
        """Type any Unicode text; a newline is Return and a tab is Tab.

        Raises NexusError before anything is typed when a character cannot be, and in the middle when `release_all`
        was called meanwhile.
        """

    def release_all(self) -> None:
        """Release every key and button this Input holds, and end a `text` under way. Idempotent."""

    def close(self) -> None:
        """`release_all`, then leave the desk as it was found. Idempotent."""


def check_typeable(text: str) -> None:
    """Raises NexusError that names the first character for which there is no key on any desk."""
    for place, character in enumerate(text, 1):
        if character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs"):
            what = "half a surrogate pair" if unicodedata.category(character) == "Cs" else "a control character"
            raise NexusError(
                f"character {place} of the text is {what} (U+{ord(character):04X}) and cannot be typed; "
                "nothing was. Send keys as chords, for example ctrl+c"
            )


def typing_stopped(typed: int, total: int) -> NexusError:
    """The error for a text that `release_all` cut short."""
    return NexusError(f"typing was stopped after {typed} of {total} characters")
