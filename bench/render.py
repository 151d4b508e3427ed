"""What drawing a frame costs: CPU and bytes to the terminal, our half-block widget beside textual-image's.

    python -m bench.render [FRAMES]

Both widgets get the same frames of 160×96 pixels for 160×48 cells, one at a time, in a real Textual app whose driver
counts the bytes instead of writing them. CPU is the whole process's time from handing the frame over until Textual has
drawn it, so that waiting for Textual's clock costs nothing. Every figure is the median over the frames.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

os.environ["TEXTUAL_FPS"] = "1000"  # read when Textual is imported
os.environ["TEXTUAL_COLOR_SYSTEM"] = "truecolor"

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from textual.app import App, ComposeResult
from textual.drivers.headless_driver import HeadlessDriver
from textual.widget import Widget
from textual_image.widget import HalfcellImage

from nexus_tui.render.halfblock import Frame, resample
from nexus_tui.widgets.desk_view import DeskView

COLUMNS, ROWS = 160, 48
DESK = (1280, 768)


def desktop() -> Image.Image:
    """A desk with a wallpaper, a dark terminal full of text and a light window."""
    across = np.linspace(30, 90, DESK[0], dtype=np.uint8)
    wallpaper = np.zeros((DESK[1], DESK[0], 3), np.uint8)
    wallpaper[..., 1], wallpaper[..., 2] = across, 255 - across
    image = Image.fromarray(wallpaper)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)
    words = np.random.default_rng(7)
    for left, top, ground, ink in ((40, 40, "#1e1e1e", "#d0d0d0"), (680, 90, "#ffffff", "#202020")):
        draw.rectangle((left, top, left + 560, top + 620), fill=ground)
        draw.rectangle((left, top, left + 560, top + 24), fill="#3465a4")
        for line in range(34):
            text = " ".join("x" * int(length) for length in words.integers(2, 9, words.integers(2, 11)))
            draw.text((left + 10, top + 32 + 17 * line), text, fill=ink, font=font)
    return image


def unchanged(image: Image.Image, frames: int) -> Iterator[Frame]:
    for _ in range(frames):
        yield picture(image)


def small_change(image: Image.Image, frames: int) -> Iterator[Frame]:
    """A box of 80×48 desk pixels, in the middle, that changes its colour."""
    draw = ImageDraw.Draw(image)
    for number in range(frames):
        draw.rectangle((640, 380, 719, 427), fill=(200, 40 + 100 * (number % 2), 40))
        yield picture(image)


def scroll(image: Image.Image, frames: int) -> Iterator[Frame]:
    """The whole desk moves up a line of text with every frame."""
    pixels = np.asarray(image)
    for number in range(frames):
        yield resample(np.roll(pixels, -17 * (number + 1), axis=0), COLUMNS, 2 * ROWS)


def video(image: Image.Image, frames: int) -> Iterator[Frame]:
    """A film over the whole desk: soft shapes that move, no two frames with the same colours."""
    y, x = np.mgrid[0 : 2 * ROWS, 0:COLUMNS]
    for number in range(frames):
        channels = [np.sin(x / (9 + 4 * c) + number / (3 + c)) + np.cos(y / (7 + 3 * c) - number / 4) for c in range(3)]
        yield (np.stack(channels, axis=2) * 63 + 127).astype(np.uint8)


def picture(image: Image.Image) -> Frame:
    return resample(np.asarray(image), COLUMNS, 2 * ROWS)


CASES: dict[str, Callable[[Image.Image, int], Iterator[Frame]]] = {
    "no change": unchanged,
    "small change": small_change,
    "whole screen scrolls": scroll,
    "video over the whole screen": video,
}


class CountingDriver(HeadlessDriver):
    """A terminal of 160×48 that counts what it is sent."""

    written = 0

    @property
    def is_headless(self) -> bool:
        return False

    def _get_terminal_size(self) -> tuple[int, int]:
        return COLUMNS, ROWS

    def write(self, data: str) -> None:
        CountingDriver.written += len(data.encode())


class Bench(App[None]):
    CSS = "HalfcellImage { width: 160; height: 48; } Screen { overflow: hidden; }"

    def __init__(self, widget: Widget) -> None:
        super().__init__(driver_class=CountingDriver)
        self.widget = widget
        self.drawn = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield self.widget

    def post_display_hook(self) -> None:
        self.drawn.set()


def show_still(image: HalfcellImage, frame: Frame) -> None:
    image.image = Image.fromarray(frame)


async def measure(widget: Widget, show: Callable[[Frame], None], frames: list[Frame]) -> tuple[float, float]:
    """Median CPU milliseconds and bytes a frame."""
    app = Bench(widget)
    running = asyncio.create_task(app.run_async(size=(COLUMNS, ROWS), mouse=False))
    async with asyncio.timeout(10):
        while widget.size != (COLUMNS, ROWS):
            app.drawn.clear()
            await app.drawn.wait()
    cpu: list[float] = []
    sent: list[int] = []
    for frame in frames:
        app.drawn.clear()
        before, started = CountingDriver.written, time.process_time()
        show(frame)
        try:
            async with asyncio.timeout(0.1):  # a frame that changes nothing is never drawn
                await app.drawn.wait()
        except TimeoutError:
            pass
        cpu.append(1000 * (time.process_time() - started))
        sent.append(CountingDriver.written - before)
    app.exit()
    await running
    warm = slice(2, None)
    return statistics.median(cpu[warm]), statistics.median(sent[warm])


async def main(frames: int) -> None:
    print(f"{COLUMNS}×{ROWS} cells, {frames} frames, medians\n")
    print(f"{'':28}{'DeskView':>22}{'HalfcellImage':>22}{'ratio':>16}")
    print(f"{'':28}{'ms':>10}{'bytes':>12}{'ms':>10}{'bytes':>12}{'ms':>8}{'bytes':>8}")
    for name, make in CASES.items():
        pictures = list(make(desktop(), frames))
        view = DeskView()
        view.desk_size = DESK
        ours = await measure(view, view.show, pictures)
        image = HalfcellImage(Image.fromarray(pictures[0]))
        theirs = await measure(image, partial(show_still, image), pictures)
        ratios = [f"1:{their / our:.0f}" if our else "1:∞" for our, their in zip(ours, theirs, strict=True)]
        print(
            f"{name:28}{ours[0]:10.2f}{ours[1]:12,.0f}{theirs[0]:10.2f}{theirs[1]:12,.0f}{ratios[0]:>8}{ratios[1]:>8}"
        )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
