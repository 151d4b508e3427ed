"""Half-blocks: what is drawn is the frame, and only what changed is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nexus_tui.render.halfblock import EMPTY, FULL, LOWER, UPPER, Frame, HalfBlocks, Run, Span, resample

COLUMNS, ROWS = 12, 4

# Few colours, so that stretches of one colour, and pairs that can share a run, are common.
palettes = st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=4)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    palette = np.array(draw(palettes), np.uint8)
    indices = draw(hnp.arrays(np.uint8, (2 * ROWS, COLUMNS), elements=st.integers(0, len(palette) - 1)))
    frame: Frame = palette[indices]
    return frame


def replay(runs: list[Run]) -> Frame:
    """The colours a terminal shows for one row: (2, columns, 3)."""
    halves: list[tuple[int, int]] = []
    for foreground, background, text in runs:
        of = {UPPER: (foreground, background), LOWER: (background, foreground)}
        of |= {FULL: (foreground, foreground), EMPTY: (background, background)}
        halves += [of[glyph] for glyph in text]
    packed = np.array(halves, np.int64).T
    assert packed.min() >= 0, "a run draws with a colour it does not have"
    return np.stack([packed >> 16, packed >> 8 & 0xFF, packed & 0xFF], axis=2).astype(np.uint8)


def drawn(cells: HalfBlocks) -> Frame:
    return np.concatenate([replay(cells.runs(row)) for row in range(cells.rows)])


def rounded(frame: Frame, bits: int) -> Frame:
    """The nearest of 2**bits even steps from 0 to 255."""
    top = 2**bits - 1
    result: Frame = np.round(np.round(frame / 255 * top) * 255 / top).astype(np.uint8)
    return result


@given(st.lists(frames(), min_size=1, max_size=3), st.sampled_from([5, 6, 8]))
def test_runs_draw_the_rounded_frame(sequence: list[Frame], bits: int) -> None:
    """Replayed on a grid of cells, the runs of all rows give the last frame in its rounded colours."""
    cells = HalfBlocks(COLUMNS, ROWS, bits=bits, slack=0)
    for frame in sequence:
        cells.update(frame)
    assert np.array_equal(drawn(cells), rounded(sequence[-1], bits))
    assert np.array_equal(drawn(cells), cells.shown)


@given(frames(), frames())
def test_cells_outside_the_spans_are_as_they_were(before: Frame, after: Frame) -> None:
    """Drawing only the spans over the old picture gives the new one, and both ends of a span have changed."""
    cells = HalfBlocks(COLUMNS, ROWS)
    cells.update(before)
    screen = drawn(cells)
    spans = cells.update(after)
    now = drawn(cells)
    for row, start, end in spans:
        for column in (start, end - 1):
            assert not np.array_equal(screen[2 * row : 2 * row + 2, column], now[2 * row : 2 * row + 2, column])
        screen[2 * row : 2 * row + 2, start:end] = now[2 * row : 2 * row + 2, start:end]
    assert np.array_equal(screen, now)
    assert len({span.row for span in spans}) == len(spans)


@given(frames())
def test_a_frame_shown_already_changes_nothing(frame: Frame) -> None:
    """The same frame again has no spans."""
    cells = HalfBlocks(COLUMNS, ROWS)
    cells.update(frame)
    assert cells.update(frame.copy()) == []


@given(frames(), st.integers(0, 2**32 - 1))
def test_the_noise_of_a_video_encoder_repaints_nothing(frame: Frame, seed: int) -> None:
    """A step or two up or down leaves every cell as it is, wherever the colour lies between two levels."""
    cells = HalfBlocks(COLUMNS, ROWS)
    cells.update(frame)
    noise = np.random.default_rng(seed)
    for _ in range(3):
        noisy = frame + noise.integers(-2, 3, frame.shape)
        assert cells.update(np.clip(noisy, 0, 255).astype(np.uint8)) == []


@given(st.lists(frames(), min_size=1, max_size=4), st.sampled_from([5, 6]))
def test_colours_never_stray_a_whole_step(sequence: list[Frame], bits: int) -> None:
    """Whatever was shown before, each channel is less than one level away from the frame's."""
    cells = HalfBlocks(COLUMNS, ROWS, bits=bits)
    for frame in sequence:
        cells.update(frame)
    astray = np.abs(cells.shown.astype(int) - sequence[-1])
    assert astray.max() < 255 // (2**bits - 1)


@pytest.mark.parametrize("bits", [5, 6])
@pytest.mark.parametrize("extreme", [0, 255])
@pytest.mark.parametrize("before", range(0, 256, 5))
def test_black_and_white_stay_pure(bits: int, extreme: int, before: int) -> None:
    """0 and 255 are shown as they are, whatever shade was there before."""
    cells = HalfBlocks(1, 1, bits=bits)
    cells.update(np.full((2, 1, 3), before, np.uint8))
    cells.update(np.full((2, 1, 3), extreme, np.uint8))
    assert np.array_equal(cells.shown, np.full((2, 1, 3), extreme, np.uint8))


def test_two_colours_make_one_run() -> None:
    """Text on a plain ground is drawn without changing colours; a plain row is spaces."""
    row = np.zeros((2, 6), np.uint8)
    row[0, 1], row[1, 2], row[:, 3] = 255, 255, 255
    cells = HalfBlocks(6, 1)
    assert cells.update(np.repeat(row[:, :, None], 3, axis=2)) == [Span(0, 1, 4)]
    assert cells.runs(0) == [Run(0xFFFFFF, 0, " ▀▄█  ")]
    cells.update(np.zeros((2, 6, 3), np.uint8))
    assert cells.runs(0) == [Run(-1, 0, "      ")]


def test_a_frame_of_another_size_is_refused() -> None:
    """A frame that does not fit the cells is an error of the caller."""
    with pytest.raises(ValueError, match="does not fit"):
        HalfBlocks(4, 2).update(np.zeros((2, 4, 3), np.uint8))


@given(frames(), st.integers(1, 40), st.integers(1, 40))
def test_resampling_keeps_size_and_range(frame: Frame, width: int, height: int) -> None:
    """Any size becomes any other, and no channel leaves the range of the original."""
    result = resample(frame, width, height)
    assert result.shape == (height, width, 3)
    assert result.dtype == np.uint8
    for channel in range(3):
        assert frame[..., channel].min() <= result[..., channel].min()
        assert result[..., channel].max() <= frame[..., channel].max()


def test_reducing_takes_the_mean_of_each_area() -> None:
    """Two by two pixels become their mean; enlarging repeats the nearest."""
    frame = np.array([[[0], [100]], [[50], [250]]], np.uint8).repeat(3, axis=2)
    assert resample(frame, 1, 1).tolist() == [[[100, 100, 100]]]
    assert resample(frame, 4, 2)[0, :, 0].tolist() == [0, 0, 100, 100]
