"""The desk's one keyboard and one pointer: how each input action is done, and who holds which button.

The order of actions, and whether they may be done, is the runner's business.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import NamedTuple

from nexus_agent.input import Input, gestures
from nexus_protocol.actions import Action, Click, Drag, Key, Move, Press, Release, Scroll, Type
from nexus_protocol.errors import NexusError
from nexus_protocol.keys import parse_chord
from nexus_protocol.vocabulary import Button

from .outcome import in_thread

INPUT = (Click, Move, Press, Release, Drag, Scroll, Type, Key)
STEPS = (Move, Press, Release)
"""Actions that are only parts of a gesture."""

INSTANT_TEXT = 32
"""Characters of plain ASCII typed without leaving the event loop; anything else may need keys to be mapped first."""
CHUNK = 256
"""Characters of a longer text between two chances to stop."""
SAME_SPOT = 3
"""Pixels that the pointer may wander between press and release of what is still called a click."""


class Hold(NamedTuple):
    holder: object
    x: int
    y: int
    since: float


class Hands:
    def __init__(self, target: Input, clock: Callable[[], float]) -> None:
        self._input = target
        self._clock = clock
        self._held: dict[Button, Hold] = {}

    @staticmethod
    def instant(action: Action) -> bool:
        """Whether :meth:`do` serves, which takes well under a millisecond; else :meth:`do_slowly`."""
        match action:
            case Type(text=text):
                return len(text) <= INSTANT_TEXT and text.isascii()
            case Drag():
                return False
            case _:
                return True

    def do(self, action: Action, holder: object) -> tuple[Action, float] | None:
        """Do it now. Raises NexusError.

        Returns what it was, for the log, and since when on the clock: a release ends a click or a drag. None says
        that nothing is worth a line yet.
        """
        now = self._clock()
        match action:
            case Move(x=x, y=y):
                self._input.move(x, y)
                return None
            case Press(x=x, y=y, button=button):
                self._input.move(x, y)
                self._input.button(button, True)
                self._held.setdefault(button, Hold(holder, x, y, now))
                return None
            case Release(x=x, y=y, button=button):
                return self._release(x, y, button)
            case Click(x=x, y=y, button=button, count=count):
                gestures.click(self._input, x, y, button, count)
            case Scroll(x=x, y=y, dx=dx, dy=dy):
                gestures.scroll(self._input, x, y, dx, dy)
            case Key(chord=chord):
                self._input.chord(parse_chord(chord))
            case Type(text=text):
                self._input.text(text)
            case _:
                raise TypeError(f"not an instant action: {action}")
        return action, now

    async def do_slowly(self, action: Action) -> None:
        """Drags and long texts; a text can be cancelled between two chunks. Raises NexusError."""
        match action:
            case Drag(x=x, y=y, to_x=to_x, to_y=to_y, button=button):
                await in_thread(gestures.drag, self._input, x, y, to_x, to_y, button)
            case Type(text=text):
                await self._type(text)
            case _:
                raise TypeError(f"not a slow action: {action}")

    def let_go(self, holder: object) -> None:
        """Release the buttons that ``holder`` still holds: its link has ended."""
        for button, hold in tuple(self._held.items()):
            if hold.holder is holder:
                del self._held[button]
                with contextlib.suppress(NexusError):  # a desk that is gone holds nothing any more
                    self._input.button(button, False)

    def let_go_all(self) -> None:
        self._held.clear()
        with contextlib.suppress(NexusError):
            self._input.release_all()

    def _release(self, x: int, y: int, button: Button) -> tuple[Action, float] | None:
        self._input.move(x, y)
        self._input.button(button, False)
        hold = self._held.pop(button, None)
        if hold is None:
            return None
        if abs(x - hold.x) <= SAME_SPOT and abs(y - hold.y) <= SAME_SPOT:
            return Click(x=hold.x, y=hold.y, button=button), hold.since
        return Drag(x=hold.x, y=hold.y, to_x=x, to_y=y, button=button), hold.since

    async def _type(self, text: str) -> None:
        typed = 0

        def type_chunk(chunk: str) -> None:
            nonlocal typed
            self._input.text(chunk)
            typed += len(chunk)

        try:
            for start in range(0, len(text), CHUNK):
                await in_thread(type_chunk, text[start : start + CHUNK])
        except asyncio.CancelledError:
            raise NexusError(f"stopped after {typed:,} of {len(text):,} characters") from None
        except NexusError as error:
            if not typed:
                raise
            raise NexusError(f"{error}; before that, {typed:,} of {len(text):,} characters were typed") from None
