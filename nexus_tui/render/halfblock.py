"""The picture as half-blocks: which cells a new frame changes, and how to draw a row of them.

A cell shows two picture pixels, one above the other, as foreground and background of ▀. `HalfBlocks` keeps the
colours that are shown, so that a frame costs what it changes. Placing, escape sequences and writing are left to
the widget.

Colours are rounded to a few bits a channel, and a shown colour stays until the frame's is clearly another: a video
encoder disturbs still areas by a step or two, and that must not repaint them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
"""RGB pixels: (height, width, 3)."""

UPPER, LOWER, FULL, EMPTY = "▀", "▄", "█", " "

_LONGEST_BLOCKS = 8
"""A stretch of one colour is drawn with █ (3 bytes each) in the current colours up to this length; past it, new
colours and spaces are cheaper to send."""


class Span(NamedTuple):
    """Changed cells of one row: from ``start`` up to, not including, ``end``."""

    row: int
    start: int
    end: int


class Run(NamedTuple):
    """Cells drawn with one pair of colours (0xRRGGBB): ``text`` is made of ▀, ▄, █ and spaces.

    ``foreground`` is -1 where there are only spaces.
    """

    foreground: int
    background: int
    text: str


class HalfBlocks:
    """``columns`` × ``rows`` cells and the colours they show; black before the first frame.

    ``bits`` a channel are kept (1 to 8). ``slack``: how far (of 255) a frame's colour may stray past rounding
    before the shown colour follows; 0 makes what is shown a function of the last frame alone.
    """

    def __init__(self, columns: int, rows: int, *, bits: int = 5, slack: int = 2) -> None:
        self.columns = columns
        self.rows = rows
        self._rounded = _rounding(bits)
        top = 2**bits - 1
        # Less than a whole step, or pure black and white could not be reached from their neighbours.
        self._tolerance = min(127 // top + slack, 255 // top - 1) if slack else 0
        self._first = True
        self._shown = np.zeros((2 * rows, columns, 3), np.uint8)
        self._packed = np.zeros((2 * rows, columns), np.uint32)

    @property
    def shown(self) -> Frame:
        """The colours on show, (2 * rows, columns, 3); read only."""
        view = self._shown.view()
        view.flags.writeable = False
        return view

    def update(self, frame: Frame) -> list[Span]:
        """Take a frame of (2 * rows, columns, 3); tells the changed cells, one span for each changed row."""
        if frame.shape != self._shown.shape:
            raise ValueError(f"a frame of {frame.shape} does not fit {self._shown.shape}")
        colours = self._rounded[frame]
        if self._tolerance and not self._first:
            astray = np.maximum(frame, self._shown) - np.minimum(frame, self._shown)
            colours = np.where(astray <= self._tolerance, self._shown, colours)
        self._first = False
        packed = _pack(colours)
        changed = packed != self._packed
        cells = changed[0::2] | changed[1::2]
        rows = np.flatnonzero(cells.any(axis=1))
        if not rows.size:
            return []
        self._shown, self._packed = colours, packed
        cells = cells[rows]
        starts = cells.argmax(axis=1)
        ends = self.columns - cells[:, ::-1].argmax(axis=1)
        return [Span(*span) for span in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True)]

    def runs(self, row: int) -> list[Run]:
        """What draws a row: its runs from left to right, covering every column."""
        upper, lower = self._packed[2 * row], self._packed[2 * row + 1]
        breaks = np.flatnonzero((upper[1:] != upper[:-1]) | (lower[1:] != lower[:-1])) + 1
        starts = np.concatenate(([0], breaks))
        lengths = np.diff(starts, append=self.columns)
        return _merge(upper[starts].tolist(), lower[starts].tolist(), lengths.tolist())


def _merge(uppers: list[int], lowers: list[int], lengths: list[int]) -> list[Run]:
    """Join neighbouring stretches that two colours can draw; text on a plain ground becomes one run, not dozens."""
    runs: list[Run] = []
    foreground, background, text = -1, -1, ""  # -1: not chosen yet
    for upper, lower, length in zip(uppers, lowers, lengths, strict=True):
        glyph = ""
        if upper == lower:
            if upper == background:
                glyph = EMPTY
            elif upper == foreground and length <= _LONGEST_BLOCKS:
                glyph = FULL
        elif lower == background and foreground in (upper, -1):
            foreground, glyph = upper, UPPER
        elif upper == background and foreground in (lower, -1):
            foreground, glyph = lower, LOWER
        if glyph:
            text += glyph * length
            continue
        if text:
            runs.append(Run(foreground, background, text))
        if upper == lower:
            foreground, background, text = -1, upper, EMPTY * length
        else:
            foreground, background, text = upper, lower, UPPER * length
    runs.append(Run(foreground, background, text))
    return runs


def resample(frame: Frame, width: int, height: int) -> Frame:
    """A frame of any size as one of ``width`` × ``height``: the mean of each pixel's area, or the nearest pixel."""
    for axis, size in ((0, height), (1, width)):
        length = frame.shape[axis]
        if length == size:
            continue
        edges = np.arange(size + 1) * length // size
        # Where two edges coincide (enlarging), reduceat gives the one pixel there, and the share is one pixel.
        sums = np.add.reduceat(frame, edges[:-1], axis=axis, dtype=np.uint32)
        shares = np.maximum(np.diff(edges), 1).astype(np.uint32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        frame = ((sums + shares // 2) // shares).astype(np.uint8)
    return frame


@lru_cache(maxsize=8)
def _rounding(bits: int) -> NDArray[np.uint8]:
    """What each value of a channel is rounded to: 2**bits levels, black and white among them."""
    top = 2**bits - 1
    levels = (np.arange(256) * top + 127) // 255
    rounded: NDArray[np.uint8] = ((levels * 255 + top // 2) // top).astype(np.uint8)
    return rounded


def _pack(colours: Frame) -> NDArray[np.uint32]:
    wide = colours.astype(np.uint32)
    packed: NDArray[np.uint32] = wide[..., 0] << np.uint32(16) | wide[..., 1] << np.uint32(8) | wide[..., 2]
    return packed
