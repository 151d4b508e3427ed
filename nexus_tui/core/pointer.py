"""From what the mouse does on the picture to actions on the desk. Pure.

Where clicking is allowed, buttons go down and up on the desk as they do here, so that a drag is seen while it is
dragged. Where a click has to be asked for, a whole gesture becomes one action that a person can judge.
"""

from __future__ import annotations

from typing import Literal

from nexus_protocol.actions import Action, Click, Drag, Move, Press, Release, Scroll
from nexus_protocol.vocabulary import Button

Kind = Literal["down", "up", "move", "drag", "scroll"]


class Gestures:
    """``live``: whether clicks are allowed without asking. ``follow``: whether the desk's pointer follows the mouse."""

    def __init__(self, *, live: bool = True, follow: bool = False) -> None:
        self.live = live
        self.follow = follow
        self._from: tuple[int, int] | None = None

    def action(self, kind: Kind, x: int, y: int, button: Button | None, dx: int = 0, dy: int = 0) -> Action | None:
        """The action for one pointer event at a desk pixel, or None when there is none (yet)."""
        button = button or Button.LEFT
        match kind:
            case "scroll":
                return Scroll(x=x, y=y, dx=dx, dy=dy)
            case "down" if self.live:
                return Press(x=x, y=y, button=button)
            case "up" if self.live:
                return Release(x=x, y=y, button=button)
            case "drag" if self.live:
                return Move(x=x, y=y)
            case "move" if self.live and self.follow:
                return Move(x=x, y=y)
            case "down":
                self._from = (x, y)
            case "up" if self._from is not None:
                (from_x, from_y), self._from = self._from, None
                if (from_x, from_y) == (x, y):
                    return Click(x=x, y=y, button=button)
                return Drag(x=from_x, y=from_y, to_x=x, to_y=y, button=button)
        return None
