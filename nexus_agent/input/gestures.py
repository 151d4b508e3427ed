"""Clicks and drags, made of an Input's primitives."""

from __future__ import annotations

import time

from nexus_protocol.vocabulary import Button

from . import Input

DRAG_STEPS = 8
DRAG_PAUSE = 0.012
"""Seconds between the steps of a drag. Programs read motion once per screen refresh and start a drag only after the
pointer left a small area; a drop target needs a moment to answer. All steps at once would be seen as a jump."""


def click(target: Input, x: int, y: int, button: Button = Button.LEFT, count: int = 1) -> None:
    target.move(x, y)
    for _ in range(count):
        target.button(button, True)
        target.button(button, False)


def scroll(target: Input, x: int, y: int, dx: int, dy: int) -> None:
    target.move(x, y)
    target.scroll(dx, dy)


def drag(target: Input, x: int, y: int, to_x: int, to_y: int, button: Button = Button.LEFT) -> None:
    """Takes about a tenth of a second: for a worker thread. The button is released whatever happens."""
    target.move(x, y)
    target.button(button, True)
    try:
        for step in range(1, DRAG_STEPS + 1):
            time.sleep(DRAG_PAUSE)
            target.move(x + (to_x - x) * step // DRAG_STEPS, y + (to_y - y) * step // DRAG_STEPS)
        time.sleep(DRAG_PAUSE)
    finally:
        target.button(button, False)
