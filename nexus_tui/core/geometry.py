"""Where the desk's picture lies in a box of terminal cells, and which cell shows which pixel of the desk.

Three grids meet here, all with their origin at the top left:

    desk pixels     what pointer actions name
    cells           what the terminal and its mouse reports count
    picture pixels  what a renderer can draw: `pixels` of them in each cell, 1×2 for half-blocks

Pure arithmetic in integers, so that the mappings are exact; drawing is render/'s work.
"""

from __future__ import annotations

from dataclasses import dataclass

Size = tuple[int, int]
"""Width and height."""

HALF_BLOCK: Size = (1, 2)
"""Picture pixels in one cell that shows ▀: its two halves."""

CELL_ASPECT = 2.0
"""A cell's height over its width, where the terminal does not tell."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The picture's place: ``columns`` × ``rows`` cells with their first at (``column``, ``row``) of the box.

    ``width`` × ``height`` is the picture in picture pixels; ``desk_width`` × ``desk_height`` is the desk it shows.
    """

    column: int
    row: int
    columns: int
    rows: int
    width: int
    height: int
    desk_width: int
    desk_height: int

    def contains(self, column: int, row: int) -> bool:
        return 0 <= column - self.column < self.columns and 0 <= row - self.row < self.rows

    def desk_pixel(self, column: int, row: int) -> tuple[int, int] | None:
        """The desk pixel at the centre of a cell of the box; None where the cell is off the picture."""
        if not self.contains(column, row):
            return None
        return (
            _share(2 * (column - self.column) + 1, 2 * self.columns, self.desk_width),
            _share(2 * (row - self.row) + 1, 2 * self.rows, self.desk_height),
        )

    def desk_pixel_at(self, x: float, y: float) -> tuple[int, int] | None:
        """The desk pixel under a point of the box, in cells, for terminals that report the mouse in pixels."""
        across, down = (x - self.column) / self.columns, (y - self.row) / self.rows
        if not (0 <= across < 1 and 0 <= down < 1):
            return None
        # A float just below 1 may round up to the whole when multiplied.
        return (
            min(int(across * self.desk_width), self.desk_width - 1),
            min(int(down * self.desk_height), self.desk_height - 1),
        )

    def cell(self, x: int, y: int) -> tuple[int, int] | None:
        """The cell of the box whose area holds a desk pixel (its centre); None where the pixel is off the desk."""
        if not (0 <= x < self.desk_width and 0 <= y < self.desk_height):
            return None
        return (
            self.column + _share(2 * x + 1, 2 * self.desk_width, self.columns),
            self.row + _share(2 * y + 1, 2 * self.desk_height, self.rows),
        )

    def nearest(self, column: int, row: int) -> tuple[int, int]:
        """The picture's cell nearest to any cell, so that a drag that leaves the picture ends at its edge."""
        return (
            min(max(column, self.column), self.column + self.columns - 1),
            min(max(row, self.row), self.row + self.rows - 1),
        )


def fit(desk: Size, box: Size, *, pixels: Size = HALF_BLOCK, cell_aspect: float = CELL_ASPECT) -> Placement | None:
    """The largest centred placement of a desk in a box of cells that keeps the desk's aspect ratio.

    The picture covers whole cells, so the ratio is kept to the nearest cell. None where there is nothing to place.
    """
    (desk_width, desk_height), (box_columns, box_rows) = desk, box
    if min(desk_width, desk_height, box_columns, box_rows) < 1:
        return None
    scale = min(box_columns / desk_width, box_rows * cell_aspect / desk_height)
    columns = min(max(round(desk_width * scale), 1), box_columns)
    rows = min(max(round(desk_height * scale / cell_aspect), 1), box_rows)
    return Placement(
        column=(box_columns - columns) // 2,
        row=(box_rows - rows) // 2,
        columns=columns,
        rows=rows,
        width=columns * pixels[0],
        height=rows * pixels[1],
        desk_width=desk_width,
        desk_height=desk_height,
    )


def viewport_size(placement: Placement) -> Size:
    """The pixels to ask the agent for.

    Twice the picture's, because video carries colour at half its resolution (4:2:0); never more than the desk has,
    for enlarging is cheaper here; even, because that is what video encoders take.
    """
    return (
        _even(min(2 * placement.width, placement.desk_width)),
        _even(min(2 * placement.height, placement.desk_height)),
    )


def _share(part: int, whole: int, total: int) -> int:
    """``part`` of ``whole`` units, counted on a scale of ``total`` and rounded down."""
    return part * total // whole


def _even(length: int) -> int:
    return max(length - length % 2, 2)
