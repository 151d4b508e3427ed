"""Where the picture lies in its box, and which cell shows which pixel."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from nexus_tui.core.geometry import Placement, fit, viewport_size

sizes = st.tuples(st.integers(1, 8_000), st.integers(1, 8_000))
boxes = st.tuples(st.integers(1, 400), st.integers(1, 200))


def placed(desk: tuple[int, int], box: tuple[int, int], cell_aspect: float = 2.0) -> Placement:
    placement = fit(desk, box, cell_aspect=cell_aspect)
    assert placement is not None
    return placement


@given(sizes, boxes, st.floats(1.0, 3.0))
def test_picture_lies_inside_its_box_in_the_middle_and_touches_two_sides(
    desk: tuple[int, int], box: tuple[int, int], cell_aspect: float
) -> None:
    """The placement is as large as the box allows, and its margins differ by one cell at most."""
    placement = placed(desk, box, cell_aspect)
    right = box[0] - placement.column - placement.columns
    below = box[1] - placement.row - placement.rows
    assert 0 <= right - placement.column <= 1
    assert 0 <= below - placement.row <= 1
    assert placement.columns == box[0] or placement.rows == box[1]
    assert (placement.width, placement.height) == (placement.columns, 2 * placement.rows)


@given(sizes, boxes, st.floats(1.0, 3.0))
def test_aspect_ratio_is_kept_to_half_a_cell(desk: tuple[int, int], box: tuple[int, int], cell_aspect: float) -> None:
    """One side fills the box; the other is what the desk's ratio asks for, rounded to a cell."""
    placement = placed(desk, box, cell_aspect)
    assume(placement.columns > 1 and placement.rows > 1)
    ideal_rows = placement.columns * desk[1] / desk[0] / cell_aspect
    ideal_columns = placement.rows * cell_aspect * desk[0] / desk[1]
    assert abs(placement.rows - ideal_rows) <= 0.5001 or abs(placement.columns - ideal_columns) <= 0.5001


def test_a_wide_and_a_tall_desk_are_letterboxed() -> None:
    """A 2:1 desk leaves rows free above and below, a 1:2 desk columns beside it."""
    assert placed((2000, 1000), (100, 50)) == Placement(0, 12, 100, 25, 100, 50, 2000, 1000)
    assert placed((1000, 2000), (100, 25)) == Placement(37, 0, 25, 25, 25, 50, 1000, 2000)


def test_finer_renderers_get_a_finer_picture_in_the_same_cells() -> None:
    """Sextants have 2×3 picture pixels a cell: the cells stay, the grid grows."""
    sextants = fit((1280, 800), (80, 24), pixels=(2, 3))
    assert sextants is not None
    assert (sextants.columns, sextants.rows) == (77, 24)
    assert (sextants.width, sextants.height) == (154, 72)


def test_nothing_is_placed_without_a_desk_or_a_box() -> None:
    """An empty box, or a desk whose size is not known yet, has no placement."""
    assert fit((0, 0), (80, 24)) is None
    assert fit((800, 600), (80, 0)) is None


@given(st.data(), sizes, boxes)
def test_every_desk_pixel_is_shown_by_the_cell_it_maps_to(
    data: st.DataObject, desk: tuple[int, int], box: tuple[int, int]
) -> None:
    """The cell's area, in desk pixels, holds the pixel's centre."""
    placement = placed(desk, box)
    x, y = data.draw(st.integers(0, desk[0] - 1)), data.draw(st.integers(0, desk[1] - 1))
    cell = placement.cell(x, y)
    assert cell is not None
    column, row = cell[0] - placement.column, cell[1] - placement.row
    assert placement.contains(*cell)
    assert column * desk[0] * 2 <= (2 * x + 1) * placement.columns < (column + 1) * desk[0] * 2
    assert row * desk[1] * 2 <= (2 * y + 1) * placement.rows < (row + 1) * desk[1] * 2


@given(st.data(), sizes, boxes)
def test_every_cell_of_the_picture_maps_to_a_pixel_in_it(
    data: st.DataObject, desk: tuple[int, int], box: tuple[int, int]
) -> None:
    """The pixel holds the centre of the cell's area; and where a cell holds whole pixels, the pixel maps back to it."""
    placement = placed(desk, box)
    column = data.draw(st.integers(0, placement.columns - 1))
    row = data.draw(st.integers(0, placement.rows - 1))
    pixel = placement.desk_pixel(placement.column + column, placement.row + row)
    assert pixel is not None
    x, y = pixel
    assert x * placement.columns * 2 <= (2 * column + 1) * desk[0] < (x + 1) * placement.columns * 2
    assert y * placement.rows * 2 <= (2 * row + 1) * desk[1] < (y + 1) * placement.rows * 2
    if desk[0] >= placement.columns and desk[1] >= placement.rows:
        assert placement.cell(x, y) == (placement.column + column, placement.row + row)


@given(sizes, boxes, st.floats(-5, 405), st.floats(-5, 205))
def test_a_point_in_a_cell_maps_into_the_desk_or_nowhere(
    desk: tuple[int, int], box: tuple[int, int], x: float, y: float
) -> None:
    """A mouse that reports pixels reaches a pixel of the desk exactly where a mouse that reports cells does."""
    placement = placed(desk, box)
    pixel = placement.desk_pixel_at(x, y)
    assert (pixel is not None) == placement.contains(int(x // 1), int(y // 1))
    if pixel is not None:
        assert 0 <= pixel[0] < desk[0]
        assert 0 <= pixel[1] < desk[1]


@given(sizes, boxes, st.integers(-9, 409), st.integers(-9, 209))
def test_off_the_picture_is_nowhere_and_its_nearest_cell_is_on_it(
    desk: tuple[int, int], box: tuple[int, int], column: int, row: int
) -> None:
    """Only cells of the picture have a pixel; a clamped cell always has one."""
    placement = placed(desk, box)
    assert (placement.desk_pixel(column, row) is not None) == placement.contains(column, row)
    assert placement.desk_pixel(*placement.nearest(column, row)) is not None
    if placement.contains(column, row):
        assert placement.nearest(column, row) == (column, row)
    assert placement.cell(-1, 0) is None
    assert placement.cell(0, desk[1]) is None


@given(st.tuples(st.integers(2, 8_000), st.integers(2, 8_000)), boxes)
def test_viewport_is_even_and_twice_the_picture_or_the_desk(desk: tuple[int, int], box: tuple[int, int]) -> None:
    """No side is odd, empty, more than the desk has, or more than twice what can be drawn."""
    placement = placed(desk, box)
    for wanted, drawn, there in zip(viewport_size(placement), (placement.width, placement.height), desk, strict=True):
        assert wanted % 2 == 0
        assert 2 <= wanted <= there
        assert wanted >= min(2 * drawn, there) - 1
        assert wanted <= 2 * drawn
