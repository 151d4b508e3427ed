"""What is drawn over the live picture: where a request waits, where something was done.

Shapes and colours only; which marks there are and when they change is the desk view's business.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from nexus_tui.core.geometry import Placement

MarkKind = Literal["pulse", "cross", "flash"]

Glyphs = dict[tuple[int, int], str]
"""A character for each cell, as (column, row) from the cell that is marked."""

# The marked cell itself stays free in a mark, for it shows what would be clicked; a flash covers it.
_CROSS: Glyphs = {(-2, 0): "─", (-1, 0): "─", (1, 0): "─", (2, 0): "─", (0, -1): "│", (0, 1): "│"}
_RINGS: tuple[Glyphs, Glyphs] = (
    _CROSS | {(-2, -1): "┌", (2, -1): "┐", (-2, 1): "└", (2, 1): "┘"},
    _CROSS | {(-4, -2): "┌", (4, -2): "┐", (-4, 2): "└", (4, 2): "┘"},
)
_FLASH: Glyphs = _CROSS | {(-1, -1): "╲", (1, -1): "╱", (0, 0): "┼", (-1, 1): "╱", (1, 1): "╲"}
_REACH = (4, 2)
"""The farthest column and row of any shape."""

# Each mark brings its own ground, so it stands out on any picture; a pulse turns it inside out.
_PULSE_STYLES = (Style.parse("bold #000000 on #ffd700"), Style.parse("bold #ffd700 on #000000"))
_FLASH_STYLE = Style.parse("bold #000000 on #00ff87")
_CROSS_STYLE = Style.parse("bold #ffffff on #d7005f")


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark at a desk pixel: a ``pulse`` has two phases, a ``cross`` stands still, a ``flash`` covers its cell."""

    x: int
    y: int
    kind: MarkKind

    def area(self, placement: Placement) -> list[Region]:
        """The cells of the picture that the mark may cover in any phase, row by row."""
        if (cell := placement.cell(self.x, self.y)) is None:
            return []
        (column, row), (across, down) = cell, _REACH
        picture = Region(placement.column, placement.row, placement.columns, placement.rows)
        shape = Region(column - across, row - down, 2 * across + 1, 2 * down + 1).intersection(picture)
        return [Region(shape.x, line, shape.width, 1) for line in shape.line_range]

    def drawing(self, phase: int) -> tuple[Glyphs, Style]:
        match self.kind:
            case "pulse":
                return _RINGS[phase], _PULSE_STYLES[phase]
            case "cross":
                return _CROSS, _CROSS_STYLE
            case "flash":
                return _FLASH, _FLASH_STYLE


def overlay(strip: Strip, row: int, marks: Iterable[Mark], placement: Placement, phase: int) -> Strip:
    """A row of the box with its marks drawn on it; the last mark is on top."""
    drawn: dict[int, Segment] = {}
    for mark in marks:
        if (cell := placement.cell(mark.x, mark.y)) is None or abs(cell[1] - row) > _REACH[1]:
            continue
        glyphs, style = mark.drawing(phase)
        for (across, down), glyph in glyphs.items():
            if cell[1] + down == row and placement.contains(cell[0] + across, row):
                drawn[cell[0] + across] = Segment(glyph, style)
    if not drawn:
        return strip
    parts: list[Strip] = []
    done = 0
    for column in sorted(drawn):
        parts += (strip.crop(done, column), Strip([drawn[column]], 1))
        done = column + 1
    return Strip.join([*parts, strip.crop(done, strip.cell_length)])
