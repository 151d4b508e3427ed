"""A desk that needs no desktop: drawn by `scenery`, it reacts to keys and pointer. For trying Nexus, and for tests.

It changes only when it is acted upon, so a desk left alone stays still to the last pixel.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from nexus_agent.capture import DeskLost, OnChange, Pixels, Watched, check_region
from nexus_agent.input import check_typeable
from nexus_protocol.actions import Region
from nexus_protocol.keys import Chord
from nexus_protocol.vocabulary import Button

from . import Desk
from .scenery import Scene, Scenery, Stroke

SIZE = (1280, 800)
LONGEST_TEXT = 4_000
"""Characters kept on the page, the newest."""
MOST_CLICKS, MOST_STROKES, LONGEST_STROKE = 1_000, 200, 2_000
THINNEST, THICKEST = 2, 40


class Drawing(Watched):
    """Capture and Input of the synthetic desk in one. Any thread may use it; callbacks come on the watching loop."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._scenery = Scenery(size)
        self._size = size
        self.scene = Scene(pointer=(size[0] // 2, size[1] // 2))
        self.clicks: list[tuple[int, int, Button]] = []
        self.held: list[Button] = []
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._painted: Pixels | None = None
        self._stroking = False
        self._closed = False

    # Capture

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def grab(self, region: Region | None = None) -> Pixels:
        if region is not None:
            check_region(region, self._size)
        with self._lock:
            if self._closed:
                raise DeskLost("the synthetic desk was closed")
            if self._painted is None:
                self._painted = self._scenery.paint(self.scene)
            if region is None:
                return self._painted.copy()
            rows, columns = slice(region.y, region.y + region.height), slice(region.x, region.x + region.width)
            return np.ascontiguousarray(self._painted[rows, columns])

    def watch(self, on_change: OnChange) -> None:
        self._loop = asyncio.get_running_loop()
        super().watch(on_change)

    def place_of(self, name: str) -> tuple[int, int]:
        """The middle of a colour's button, or of ``notes`` or ``canvas``."""
        boxes = {"notes": self._scenery.page, "canvas": self._scenery.canvas, **self._scenery.buttons}
        return boxes[name].centre

    # Input

    def move(self, x: int, y: int) -> None:
        width, height = self._size
        with self._acting() as scene:
            scene.pointer = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
            if self._stroking:
                points = scene.strokes[-1].points
                if len(points) < LONGEST_STROKE and self._scenery.canvas.holds(*scene.pointer):
                    points.append(scene.pointer)
                    scene.drawn += 1

    def button(self, button: Button, pressed: bool) -> None:
        with self._acting() as scene:
            if pressed and button not in self.held:
                self.held.append(button)
                self.clicks.append((*scene.pointer, button))
                del self.clicks[:-MOST_CLICKS]
                if button is Button.LEFT:
                    self._press(scene)
            elif not pressed and button in self.held:
                self.held.remove(button)
                if button is Button.LEFT:
                    scene.pressed, self._stroking = None, False

    def scroll(self, dx: int, dy: int) -> None:
        with self._acting() as scene:
            scene.brush = min(max(scene.brush - dy, THINNEST), THICKEST)

    def chord(self, chord: Chord) -> None:
        with self._acting() as scene:
            plain = not set(chord.modifiers) - {"shift"}
            shifted = "shift" in chord.modifiers
            match chord.key:
                case "backspace" if plain:
                    scene.text = scene.text[:-1]
                case "enter" | "tab" | "space" | "plus" if plain:
                    self._insert({"enter": "\n", "tab": "\t", "space": " ", "plus": "+"}[chord.key])
                case key if len(key) == 1 and plain:
                    self._insert(key.upper() if shifted else key)
                case "l" if chord.modifiers == ("ctrl",):
                    scene.text = ""
                    scene.strokes.clear()
                    scene.drawn += 1
                    self._stroking = False

    def text(self, text: str) -> None:
        check_typeable(text)
        with self._acting():
            self._insert(text)

    def release_all(self) -> None:
        with self._acting() as scene:
            self.held.clear()
            scene.pressed, self._stroking = None, False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._watchers.clear()

    @contextmanager
    def _acting(self) -> Iterator[Scene]:
        """Change the scene; when it is another one afterwards, the watchers are told."""
        with self._lock:
            if self._closed:
                raise DeskLost("the synthetic desk was closed")
            before = self.scene.pointer, self.scene.content()
            yield self.scene
            if (self.scene.pointer, self.scene.content()) == before:
                return
            self._painted = None
            loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._changed)

    def _insert(self, text: str) -> None:
        self.scene.text = (self.scene.text + text)[-LONGEST_TEXT:]

    def _press(self, scene: Scene) -> None:
        for name, box in self._scenery.buttons.items():
            if box.holds(*scene.pointer):
                scene.pressed = scene.colour = name
        if self._scenery.canvas.holds(*scene.pointer):
            self._stroking = True
            scene.strokes.append(Stroke(scene.colour, scene.brush, [scene.pointer]))
            del scene.strokes[:-MOST_STROKES]
            scene.drawn += 1


class SyntheticDesk(Desk):
    """The drawn desk, with what happened on it."""

    def __init__(self, size: tuple[int, int] = SIZE) -> None:
        self._drawing = Drawing(size)
        super().__init__(kind="synthetic", capture=self._drawing, input=self._drawing, environment={})
        self.ending.callback(self._drawing.close)

    @property
    def text(self) -> str:
        """What was typed and not erased."""
        return self._drawing.scene.text

    @property
    def clicks(self) -> list[tuple[int, int, Button]]:
        """Where which button went down, oldest first."""
        return list(self._drawing.clicks)

    @property
    def colour(self) -> str:
        """The colour button pressed last."""
        return self._drawing.scene.colour

    @property
    def strokes(self) -> list[list[tuple[int, int]]]:
        """The points of each line drawn on the canvas."""
        return [list(stroke.points) for stroke in self._drawing.scene.strokes]

    @property
    def pointer(self) -> tuple[int, int]:
        return self._drawing.scene.pointer

    def place_of(self, name: str) -> tuple[int, int]:
        """The middle of a colour's button (``coral``, ``sky`` …), of ``notes`` or of ``canvas``."""
        return self._drawing.place_of(name)
