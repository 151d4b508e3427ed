"""Keys and pointer through PyAutoGUI, for platforms other than X11: the only module that knows PyAutoGUI.

It is imported when the first Input is made, and guarded: without a display its import fails, without tkinter a part
of it ends the whole program. Its pause after every call is switched off, and its corner fail-safe too: our own stop
is `release_all`, and a fail-safe that raises in the middle of a chord would leave keys down.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from nexus_protocol.errors import NexusError
from nexus_protocol.keys import Chord
from nexus_protocol.vocabulary import Button

from . import check_typeable, typing_stopped

CHUNK = 64
"""Characters between two looks whether to stop."""

_NAMES = {"escape": "esc", "menu": "apps", "print": "printscreen", "plus": "+"}
if sys.platform == "darwin":
    _NAMES |= {"alt": "option", "super": "command"}
else:
    _NAMES |= {"super": "win"}


def load() -> Any:
    """PyAutoGUI, ready to be used. Raises NexusError with the reason why it is not."""
    try:
        import pyautogui
    # Its import runs code of four packages that look for displays and permissions, each failing in its own way.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        reason = str(error).strip().splitlines()
        raise NexusError(
            f"PyAutoGUI cannot drive this desktop: {reason[0] if reason else type(error).__name__}"
        ) from None
    pyautogui.PAUSE = 0
    pyautogui.FAILSAFE = False
    return pyautogui


class PyAutoGuiInput:
    """Input for the desktop of this session; `origin` is where the desk's 0,0 lies on the platform's screen."""

    def __init__(self, origin: tuple[int, int] = (0, 0)) -> None:
        self._gui = load()
        self._left, self._top = origin
        self._lock = threading.RLock()
        self._stops = 0
        self._held_keys: list[str] = []
        self._held_buttons: list[Button] = []

    def move(self, x: int, y: int) -> None:
        with self._lock:
            self._gui.moveTo(self._left + x, self._top + y)

    def button(self, button: Button, pressed: bool) -> None:
        with self._lock:
            if pressed:
                self._held_buttons.append(button)
                self._gui.mouseDown(button=str(button))
            else:
                self._gui.mouseUp(button=str(button))
                self._held_buttons = [held for held in self._held_buttons if held != button]

    def scroll(self, dx: int, dy: int) -> None:
        with self._lock:
            if dy:
                self._gui.scroll(-dy)
            if dx:
                self._gui.hscroll(dx)

    def chord(self, chord: Chord) -> None:
        names = [_NAMES.get(name, name) for name in (*chord.modifiers, chord.key)]
        for name in names:
            if not self._gui.isValidKey(name):
                raise NexusError(f"the key {name!r} of {chord} cannot be pressed on this platform; nothing was")
        with self._lock:
            pressed: list[str] = []
            try:
                for name in names:
                    self._held_keys.append(name)
                    pressed.append(name)
                    self._gui.keyDown(name)
            finally:
                for name in reversed(pressed):
                    self._gui.keyUp(name)
                    self._held_keys.remove(name)

    def text(self, text: str) -> None:
        check_typeable(text)
        missing = sorted({character for character in text if not self._typeable(character)})
        if missing:
            some = " ".join(missing[:8]) + (" …" if len(missing) > 8 else "")
            raise NexusError(f"these characters cannot be typed on this platform, so nothing was: {some}")
        stops = self._stops
        for start in range(0, len(text), CHUNK):
            with self._lock:
                if self._stops != stops:
                    raise typing_stopped(start, len(text))
                self._gui.write(text[start : start + CHUNK], interval=0)

    def release_all(self) -> None:
        self._stops += 1
        with self._lock:
            while self._held_keys:
                self._gui.keyUp(self._held_keys.pop())
            while self._held_buttons:
                self._gui.mouseUp(button=str(self._held_buttons.pop()))

    def close(self) -> None:
        self.release_all()

    def _typeable(self, character: str) -> bool:
        # isValidKey says yes to any single character on some platforms; only the plain ones are typed by all.
        return character in "\n\t" or (character.isascii() and bool(self._gui.isValidKey(character)))
