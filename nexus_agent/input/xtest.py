"""Keys and pointer of an X11 desktop through the XTEST extension.

`keyboard` finds a key for every character; this module presses them. Text is typed with Caps Lock off and in the
first keyboard group, and both are put back: so letters keep their case and keys mean what the map says. Text goes
out in chunks, and the server is waited for after each, so that `release_all` can stop it and nothing piles up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nexus_agent.xserver import XServer, xkb, xproto, xtest
from nexus_protocol.errors import NexusError
from nexus_protocol.keys import Chord
from nexus_protocol.vocabulary import Button

from . import check_typeable, keysyms, typing_stopped
from .keyboard import Key, Keyboard

CHUNK = 64
"""Characters typed between two round trips to the server."""
FAR = 32_767
"""The largest coordinate that X11 has."""

KEY_PRESS, KEY_RELEASE, BUTTON_PRESS, BUTTON_RELEASE, MOTION = 2, 3, 4, 5, 6
BUTTONS = {Button.LEFT: 1, Button.MIDDLE: 2, Button.RIGHT: 3}
WHEEL_UP, WHEEL_DOWN, WHEEL_LEFT, WHEEL_RIGHT = 4, 5, 6, 7

CORE_KEYBOARD = 0x100  # XkbUseCoreKbd
WHOLE_MAP = 0xFF
# Shift Lock, Caps Lock and the lock of the third level; Num Lock changes no key that is used here.
DISTURBING_LOCKS = 0x01 | 0x02 | 0x80


class XTestInput:
    """Input for one X display. Raises Unreachable where no X server answers, NexusError where it lacks XTEST."""

    def __init__(self, display: str) -> None:
        self._server = XServer(display)
        self._closed = False
        self._stops = 0
        self._held_keys: list[int] = []
        self._held_buttons: list[int] = []
        self._turn = threading.Lock()  # one text at a time
        self._xtest: Any | None = self._server.extension(xtest, "XTEST")
        self._xkb: Any | None = self._server.extension(xkb, "XKEYBOARD")
        if self._xtest is None:
            self._server.close()
            raise NexusError(f"the X server of {display} lacks the XTEST extension, so it cannot be driven")
        with self._server:
            if self._xkb is not None:
                self._xkb.UseExtension(1, 0).reply()
                # To a client that knows XKB the server tells of a new map in XKB's own events only.
                kinds = xkb.EventType.NewKeyboardNotify | xkb.EventType.MapNotify
                self._xkb.SelectEventsChecked(CORE_KEYBOARD, kinds, 0, kinds, WHOLE_MAP, WHOLE_MAP, []).check()
            self._keyboard = Keyboard(self._server)

    def move(self, x: int, y: int) -> None:
        with self._server as server:
            self._fake(MOTION, 0, min(max(x, 0), FAR), min(max(y, 0), FAR))
            server.flush()

    def button(self, button: Button, pressed: bool) -> None:
        with self._server as server:
            self._keyboard.refresh()
            self._press_button(self._keyboard.physical(BUTTONS[button]), pressed)
            server.flush()

    def scroll(self, dx: int, dy: int) -> None:
        with self._server as server:
            self._keyboard.refresh()
            for notches, backward, forward in ((dy, WHEEL_UP, WHEEL_DOWN), (dx, WHEEL_LEFT, WHEEL_RIGHT)):
                wheel = self._keyboard.physical(forward if notches > 0 else backward)
                for _ in range(abs(notches)):
                    self._fake(BUTTON_PRESS, wheel)
                    self._fake(BUTTON_RELEASE, wheel)
            server.flush()

    def chord(self, chord: Chord) -> None:
        symbols = [keysyms.of_key(name) for name in (*chord.modifiers, chord.key)]
        while True:
            with self._server:
                self._keyboard.refresh()
                if self._keyboard.lend(symbols) == len(symbols):
                    self._press_chord(chord, symbols)
                    return
                wait = self._keyboard.seconds_until_ready()
            time.sleep(wait)

    def text(self, text: str) -> None:
        check_typeable(text)
        symbols = [keysyms.of_character(character) for character in text]
        stops = self._stops
        with self._turn:
            typed = 0
            while typed < len(symbols):
                if self._stops != stops:
                    raise typing_stopped(typed, len(symbols))
                wait = 0.0
                with self._server:
                    self._keyboard.refresh()
                    ready = self._keyboard.lend(symbols[typed : typed + CHUNK])
                    if ready:
                        self._type(symbols[typed : typed + ready])
                        typed += ready
                    else:
                        wait = self._keyboard.seconds_until_ready()
                time.sleep(wait)

    def release_all(self) -> None:
        self._stops += 1
        with self._server as server:
            for keycode in reversed(tuple(self._held_keys)):
                self._press_key(keycode, False)
            for button in tuple(self._held_buttons):
                self._press_button(button, False)
            server.sync()

    def close(self) -> None:
        """Takes up to a quarter of a second when characters were typed just now that are not on the keyboard map."""
        if self._closed:
            return
        self._closed = True
        try:
            self.release_all()
            time.sleep(self._keyboard.seconds_until_rested())
            with self._turn, self._server:
                self._keyboard.restore()
        except NexusError:
            pass  # the server is gone, and the keys held and lent with it
        finally:
            self._server.close()

    def _type(self, symbols: list[int]) -> None:
        shift = self._key(keysyms.SHIFT).keycode
        shifted = False
        with self._plain_state():
            try:
                for symbol in symbols:
                    key = self._key(symbol)
                    if key.shift != shifted:
                        shifted = key.shift
                        self._press_key(shift, shifted)
                    self._press_key(key.keycode, True)
                    self._press_key(key.keycode, False)
            finally:
                if shifted:
                    self._press_key(shift, False)
        self._server.sync()
        self._keyboard.pressed(symbols)

    def _press_chord(self, chord: Chord, symbols: list[int]) -> None:
        keys = [self._key(symbol) for symbol in symbols]
        codes = [key.keycode for key in keys]
        if keys[-1].shift and "shift" not in chord.modifiers:
            codes.insert(-1, self._key(keysyms.SHIFT).keycode)
        with self._plain_state(unless=chord.key in keysyms.LOCKS):
            try:
                for keycode in codes:
                    self._press_key(keycode, True)
            finally:
                for keycode in reversed(codes):
                    self._press_key(keycode, False)
        self._server.sync()
        self._keyboard.pressed(symbols)

    def _key(self, symbol: int) -> Key:
        key = self._keyboard.find(symbol)
        if key is None:
            raise NexusError(f"no key of the desk's keyboard gives the symbol 0x{symbol:X}")
        return key

    @contextmanager
    def _plain_state(self, unless: bool = False) -> Iterator[None]:
        """Locks that change letters off and the first group on; back as they were afterwards."""
        if unless or self._xkb is None:
            yield
            return
        state = self._xkb.GetState(CORE_KEYBOARD).reply()
        locks = state.lockedMods & DISTURBING_LOCKS
        group = state.lockedGroup
        if not locks and not group:
            yield
            return
        self._xkb.LatchLockState(CORE_KEYBOARD, locks, 0, True, 0, 0, False, 0)
        try:
            yield
        finally:
            self._xkb.LatchLockState(CORE_KEYBOARD, locks, locks, True, group, 0, False, 0)

    def _press_key(self, keycode: int, pressed: bool) -> None:
        self._fake(KEY_PRESS if pressed else KEY_RELEASE, keycode)
        _note(self._held_keys, keycode, pressed)

    def _press_button(self, button: int, pressed: bool) -> None:
        self._fake(BUTTON_PRESS if pressed else BUTTON_RELEASE, button)
        _note(self._held_buttons, button, pressed)

    def _fake(self, kind: int, detail: int, x: int = 0, y: int = 0) -> None:
        assert self._xtest is not None
        self._xtest.FakeInput(kind, detail, xproto.Time.CurrentTime, self._server.root, x, y, 0)


def _note(held: list[int], what: int, pressed: bool) -> None:
    if pressed and what not in held:
        held.append(what)
    elif not pressed and what in held:
        held.remove(what)
