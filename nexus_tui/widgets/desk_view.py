"""The live picture of the desk as a Textual widget: half-blocks, marks on top, pointer events out.

It shows what it is handed and says what the pointer does, in desk pixels; asking the agent for pictures, deciding
who may click and sending the click are left to others. Only rows that changed are drawn again, each up to its last
changed cell; a frame that changes nothing writes nothing. Colours are 24-bit: where the terminal has fewer, Textual
picks the nearest.

Textual draws at most `textual.constants.MAX_FPS` times a second (60, or the environment's TEXTUAL_FPS), so a frame
may wait 16.7 ms for its turn; a program that wants less sets the variable before it imports Textual.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Literal

from rich.color import Color, ColorType
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual import events, on
from textual.filter import ANSIToTruecolor, LineFilter
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from nexus_protocol.vocabulary import Button
from nexus_tui.core.geometry import CELL_ASPECT, Placement, Size, fit, viewport_size
from nexus_tui.render.halfblock import Frame, HalfBlocks, resample
from nexus_tui.widgets.marks import Mark, overlay

SMALLEST = (4, 2)
"""Cells below which nothing is drawn: no desk can be told from another there."""
PULSE_SECONDS = 0.4
FLASH_SECONDS = 0.35
MAX_FLASHES = 32

PointerKind = Literal["down", "up", "move", "drag", "scroll"]

_BUTTONS = {1: Button.LEFT, 2: Button.MIDDLE, 3: Button.RIGHT}

HINT_COLUMNS = 76


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of that width; its own line ends stay, and nothing that can be copied is cut but at need."""
    return [part for line in text.split("\n") for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""]]


class DeskView(Widget, can_focus=True):
    """The desk's picture, as large as fits with its aspect ratio kept, in the middle of the widget."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    DeskView { width: 1fr; height: 1fr; background: #101014; color: $text; }
    """

    desk_size: reactive[Size] = reactive((0, 0), init=False, repaint=False)
    """The desk's width and height in pixels; nothing is shown before it is known."""
    cell_aspect: reactive[float] = reactive(CELL_ASPECT, init=False, repaint=False)
    """The terminal's cell height over its width."""
    placeholder: reactive[str] = reactive("")
    """What stands in the middle while there is no picture."""
    hint: reactive[str] = reactive("")
    """The line below the placeholder: what to do about it."""

    class Resized(Message):
        """The picture's size changed: ask the agent for the viewport, hand over frames of the picture's size."""

        def __init__(self, viewport: Size, picture: Size) -> None:
            super().__init__()
            self.viewport_width, self.viewport_height = viewport
            self.picture_width, self.picture_height = picture

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, DeskView.Resized)

    class Pointer(Message):
        """The pointer did something at a desk pixel. ``button`` is None for move and scroll.

        ``dx`` and ``dy`` are notches of the wheel, positive right and down. After a "down" the "up" always comes,
        at the picture's edge if the button was let go outside it.
        """

        def __init__(
            self, kind: PointerKind, x: int, y: int, button: Button | None = None, dx: int = 0, dy: int = 0
        ) -> None:
            super().__init__()
            self.kind: PointerKind = kind
            self.x, self.y = x, y
            self.button = button
            self.dx, self.dy = dx, dy

        def can_replace(self, message: Message) -> bool:
            """A position is worth nothing once there is a newer one."""
            return (
                isinstance(message, DeskView.Pointer)
                and self.kind in ("move", "drag")
                and (message.kind, message.button) == (self.kind, self.button)
            )

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.placement: Placement | None = None
        self._frame: Frame | None = None
        self._cells: HalfBlocks | None = None
        self._announced: tuple[Size, Size] | None = None
        self._marks: dict[object, Mark] = {}
        self._phase = 0
        self._pulse: Timer | None = None
        self._held: list[Button] = []
        self._last_point = (0, 0)

    # ---- The picture

    def show(self, frame: Frame) -> None:
        """Show RGB pixels (height, width, 3), best of the size `Resized` named. The array is kept: do not reuse it."""
        first = self._frame is None
        self._frame = frame
        if (placement := self.placement) is None or self._cells is None:
            return
        spans = self._cells.update(resample(frame, placement.width, placement.height))
        if first:
            self.refresh()
        elif spans:
            self.refresh(
                *(Region(placement.column + start, placement.row + row, end - start, 1) for row, start, end in spans)
            )

    def clear(self, placeholder: str | None = None, hint: str = "") -> None:
        """The picture is lost: show a message in its place until the next frame."""
        self._frame = None
        if self.placement is not None:
            self._cells = HalfBlocks(self.placement.columns, self.placement.rows)
        if placeholder is not None:
            self.placeholder, self.hint = placeholder, hint
        self.refresh()

    def _place(self) -> None:
        """Fit the picture into the widget again, and say so where that changes what to ask for."""
        box = self.size
        big_enough = box.width >= SMALLEST[0] and box.height >= SMALLEST[1]
        placement = fit(self.desk_size, box, cell_aspect=self.cell_aspect) if big_enough else None
        if placement == self.placement:
            return
        self.placement = placement
        self._cells = HalfBlocks(placement.columns, placement.rows) if placement else None
        if placement is not None:
            if self._frame is not None and self._cells is not None:
                self._cells.update(resample(self._frame, placement.width, placement.height))
            wanted = (viewport_size(placement), (placement.width, placement.height))
            if wanted != self._announced:
                self._announced = wanted
                self.post_message(self.Resized(*wanted))
        self.refresh()

    @on(events.Resize)
    def _resized(self) -> None:
        self._place()

    def watch_desk_size(self) -> None:
        self._place()

    def watch_cell_aspect(self) -> None:
        self._place()

    # ---- Marks

    def mark(self, key: str, x: int, y: int, kind: Literal["pulse", "cross"] = "pulse") -> None:
        """Mark a desk pixel until `unmark`; a mark of the same key moves."""
        self._put(key, Mark(x, y, kind))

    def unmark(self, key: str) -> None:
        """Take a mark away; one that is not there is fine."""
        self._remove(key)

    def flash(self, x: int, y: int) -> None:
        """Light up a desk pixel for a moment: something was done there."""
        flashes = [key for key, mark in self._marks.items() if mark.kind == "flash"]
        if len(flashes) >= MAX_FLASHES:
            self._remove(flashes[0])
        key = object()
        self._put(key, Mark(x, y, "flash"))
        self.set_timer(FLASH_SECONDS, partial(self._remove, key))

    def _put(self, key: object, mark: Mark) -> None:
        self._remove(key)
        self._marks[key] = mark
        self._refresh_marks([mark])
        self._run_pulse()

    def _remove(self, key: object) -> None:
        if (mark := self._marks.pop(key, None)) is not None:
            self._refresh_marks([mark])
            self._run_pulse()

    def _run_pulse(self) -> None:
        """The timer runs while something pulses, and only then."""
        pulsing = any(mark.kind == "pulse" for mark in self._marks.values())
        if pulsing and self._pulse is None:
            self._phase = 0
            self._pulse = self.set_interval(PULSE_SECONDS, self._next_phase)
        elif not pulsing and self._pulse is not None:
            self._pulse.stop()
            self._pulse = None

    def _next_phase(self) -> None:
        self._phase = 1 - self._phase
        self._refresh_marks(mark for mark in self._marks.values() if mark.kind == "pulse")

    def _refresh_marks(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            if self.placement is not None and (area := mark.area(self.placement)):
                self.refresh(*area)

    # ---- Drawing

    def get_line_filters(self) -> list[LineFilter]:
        """Textual's, less the one for ANSI colours: here are none, and it would rebuild every row for nothing."""
        return [each for each in super().get_line_filters() if not isinstance(each, ANSIToTruecolor)]

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        ground = self.visual_style.rich_style
        placement, cells = self.placement, self._cells
        if self._frame is None or placement is None or cells is None:
            return self._message_line(y, ground)
        row = y - placement.row
        if not 0 <= row < placement.rows:
            return Strip.blank(width, ground)
        right = width - placement.column - placement.columns
        segments = [Segment(run.text, _style(run.foreground, run.background)) for run in cells.runs(row)]
        if placement.column:
            segments.insert(0, Segment(" " * placement.column, ground))
        if right:
            segments.append(Segment(" " * right, ground))
        strip = Strip(segments, width)
        return overlay(strip, y, self._marks.values(), placement, self._phase) if self._marks else strip

    def _message_line(self, y: int, ground: Style) -> Strip:
        """One line of what stands where the picture would: the placeholder, and all of the hint, however long."""
        width, height = self.size
        if not self.placeholder or width < SMALLEST[0] or height < SMALLEST[1]:
            return Strip.blank(width, ground)
        lines = [self.placeholder, *wrapped(self.hint, min(width - 2, HINT_COLUMNS))]
        line = y - max(height - len(lines), 0) // 2
        if not 0 <= line < len(lines):
            return Strip.blank(width, ground)
        # What comes from elsewhere must not steer the terminal.
        clean = "".join(character if character.isprintable() else " " for character in lines[line])
        strip = Strip([Segment(clean, ground + Style(bold=line == 0))]).crop(0, width)
        left = (width - strip.cell_length) // 2
        return Strip([Segment(" " * left, ground), *strip]).adjust_cell_length(width, ground)

    # ---- The pointer

    @on(events.MouseDown)
    def _mouse_down(self, event: events.MouseDown) -> None:
        button, point = _BUTTONS.get(event.button), self._point(event)
        if button is None or point is None or button in self._held:
            return
        event.stop()
        self._held.append(button)
        self.capture_mouse()
        self._tell("down", point, button)

    @on(events.MouseUp)
    def _mouse_up(self, event: events.MouseUp) -> None:
        # A terminal of the oldest mouse protocol does not say which button was let go.
        button = _BUTTONS.get(event.button, self._held[-1] if self._held else None)
        if button not in self._held or button is None:
            return
        event.stop()
        self._let_go(button, self._point(event, clamp=True) or self._last_point)

    @on(events.MouseMove)
    def _mouse_move(self, event: events.MouseMove) -> None:
        if (point := self._point(event, clamp=bool(self._held))) is not None:
            event.stop()
            self._tell("drag" if self._held else "move", point, self._held[-1] if self._held else None)

    @on(events.MouseScrollUp)
    @on(events.MouseScrollDown)
    @on(events.MouseScrollLeft)
    @on(events.MouseScrollRight)
    def _mouse_scroll(self, event: events.MouseEvent) -> None:
        if (point := self._point(event)) is None:
            return
        event.stop()
        event.prevent_default()
        notch = 1 if isinstance(event, events.MouseScrollDown | events.MouseScrollRight) else -1
        # Shift turns the wheel sideways, as everywhere.
        sideways = event.shift or isinstance(event, events.MouseScrollLeft | events.MouseScrollRight)
        self._tell("scroll", point, None, dx=notch if sideways else 0, dy=0 if sideways else notch)

    @on(events.MouseRelease)
    def _mouse_taken(self) -> None:
        # Ours comes late, too, perhaps after the next press.
        if self.app.mouse_captured is not self:
            self._let_all_go()

    @on(events.Hide)
    def _let_all_go(self) -> None:
        """Nobody will tell when the buttons come up, so they come up now: a desk must not keep one pressed."""
        for button in tuple(self._held):
            self._let_go(button, self._last_point)

    def _let_go(self, button: Button, point: tuple[int, int]) -> None:
        self._held.remove(button)
        self._tell("up", point, button)
        if not self._held:
            self.release_mouse()

    def _tell(self, kind: PointerKind, point: tuple[int, int], button: Button | None, dx: int = 0, dy: int = 0) -> None:
        self._last_point = point
        self.post_message(self.Pointer(kind, *point, button, dx, dy))

    def _point(self, event: events.MouseEvent, clamp: bool = False) -> tuple[int, int] | None:
        """The desk pixel under the mouse; off the picture None, or with ``clamp`` the nearest there is."""
        placement = self.placement
        if placement is None or self._frame is None:
            return None
        left, top = self.gutter.left, self.gutter.top
        if self.app.supports_smooth_scrolling:  # the terminal reports the mouse in pixels
            point = placement.desk_pixel_at(event.pointer_x - left, event.pointer_y - top)
            if point is not None:
                return point
        column, row = event.x - left, event.y - top
        if clamp:
            column, row = placement.nearest(column, row)
        return placement.desk_pixel(column, row)


@lru_cache(maxsize=16_384)
def _style(foreground: int, background: int) -> Style:
    return Style.from_color(None if foreground < 0 else _color(foreground), _color(background))


@lru_cache(maxsize=32_768)
def _color(rgb: int) -> Color:
    # Color.from_rgb makes a name as well, which takes five times as long.
    return Color("", ColorType.TRUECOLOR, None, ColorTriplet(rgb >> 16, rgb >> 8 & 0xFF, rgb & 0xFF))
