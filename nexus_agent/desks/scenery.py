"""How the synthetic desk looks: everything Pillow draws. What happens there is `synthetic`'s business.

Still parts are drawn once, at twice the size and scaled down so that curves are smooth; `paint` adds what moves.
The same state gives the same pixels, always.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from nexus_agent.capture import Pixels

from .lettering import Lettering

FINE = 2  # still parts are drawn this much larger
PAPER, INK, FAINT = (250, 249, 246), (38, 40, 54), (138, 140, 156)
BAR, HAIRLINE = (238, 236, 232), (214, 211, 205)
COLOURS = {
    "coral": (240, 98, 90),
    "amber": (246, 174, 60),
    "mint": (62, 190, 142),
    "sky": (66, 148, 236),
    "violet": (136, 102, 228),
    "rose": (232, 92, 158),
}
WELCOME = "This desktop is drawn by the agent itself. Type here, pick a colour, draw with the mouse, turn the wheel."


class Box(NamedTuple):
    left: int
    top: int
    right: int
    bottom: int

    def holds(self, x: int, y: int) -> bool:
        return self.left <= x < self.right and self.top <= y < self.bottom

    def inset(self, by: int) -> Box:
        return Box(self.left + by, self.top + by, self.right - by, self.bottom - by)

    @property
    def centre(self) -> tuple[int, int]:
        return (self.left + self.right) // 2, (self.top + self.bottom) // 2


@dataclass
class Stroke:
    colour: str
    width: int
    points: list[tuple[int, int]]


@dataclass
class Scene:
    """All that can change on the synthetic desk."""

    pointer: tuple[int, int]
    text: str = ""
    colour: str = "coral"
    brush: int = 6
    pressed: str | None = None
    strokes: list[Stroke] = field(default_factory=list)
    drawn: int = 0
    """Counts the changes of `strokes`, which are too many to compare."""

    def content(self) -> tuple[object, ...]:
        """Equal for scenes that look the same but for the pointer."""
        return self.text, self.colour, self.brush, self.pressed, self.drawn


class Scenery:
    """The places of a desk of one size, and its pictures."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        width, height = size
        self._title = max(24, height // 22)
        self.notes = Box(width * 7 // 100, height * 15 // 100, width * 53 // 100, height * 84 // 100)
        self.sketch = Box(width * 58 // 100, height * 20 // 100, width * 94 // 100, height * 79 // 100)
        gap = max(4, height // 50)
        inside = Box(self.sketch.left, self.sketch.top + self._title, self.sketch.right, self.sketch.bottom).inset(gap)
        row = max(16, height // 16)
        self.canvas = Box(inside.left, inside.top, inside.right, inside.bottom - row - gap)
        step = (inside.right - inside.left + gap) / len(COLOURS)
        self.buttons = {
            name: Box(
                round(inside.left + place * step), inside.bottom - row,
                round(inside.left + (place + 1) * step) - gap, inside.bottom,
            )
            for place, name in enumerate(COLOURS)
        }  # fmt: skip
        self.page = Box(self.notes.left, self.notes.top + self._title, self.notes.right, self.notes.bottom).inset(gap)
        self._letters = Lettering(max(11, height // 40))
        self._small = ImageFont.load_default(max(9, height // 55))
        self._latest: tuple[tuple[object, ...], Image.Image] | None = None
        self._still = self._draw_still()
        self._arrow = _draw_arrow(max(18, height // 34))

    def paint(self, scene: Scene) -> Pixels:
        content = scene.content()
        if self._latest is None or self._latest[0] != content:
            self._latest = content, self._paint_content(scene)
        picture = self._latest[1].copy()
        picture.paste(self._arrow, scene.pointer, self._arrow)
        width, height = self.size
        return np.frombuffer(picture.tobytes("raw", "BGRX"), np.uint8).reshape(height, width, 4)

    def _paint_content(self, scene: Scene) -> Image.Image:
        picture = self._still.copy()
        draw = ImageDraw.Draw(picture)
        self._paint_text(draw, scene.text)
        self._paint_strokes(picture, scene.strokes)
        for name, box in self.buttons.items():
            self._paint_button(draw, name, box, scene)
        label = f"{scene.colour}, {scene.brush} px"
        draw.text((self.sketch.right - 16, self.sketch.top + self._title // 2), label, FAINT, self._small, anchor="rm")
        return picture

    def _paint_text(self, draw: ImageDraw.ImageDraw, text: str) -> None:
        letters, x, y = self._letters, self.page.left, self.page.top
        lines = self._wrap(text or WELCOME)
        shown = lines[-max(1, (self.page.bottom - self.page.top) // letters.line_height) :]
        for place, line in enumerate(shown):
            letters.draw(draw, (x, y + place * letters.line_height), line, INK if text else FAINT)
        caret_x = x + round(letters.width(shown[-1])) + 1 if text else x - 3
        caret_y = y + (len(shown) - 1) * letters.line_height if text else y
        draw.rectangle((caret_x, caret_y, caret_x + 1, caret_y + letters.line_height - 5), COLOURS["sky"])

    def _wrap(self, text: str) -> list[str]:
        """Lines no wider than the page, broken at spaces where there are any."""
        widest = self.page.right - self.page.left - 4
        lines: list[str] = []
        for paragraph in text.expandtabs(4).split("\n"):
            line, taken = "", 0.0
            for character in paragraph:
                taken += self._letters.advance(character)
                if taken > widest:
                    head, space, tail = line.rpartition(" ")
                    lines.append(head if space else line)
                    line = tail if space else ""
                    taken = sum(map(self._letters.advance, line + character))
                line += character
            lines.append(line)
        return lines

    def _paint_strokes(self, picture: Image.Image, strokes: list[Stroke]) -> None:
        if not strokes:
            return
        left, top, right, bottom = self.canvas
        fine = picture.crop(self.canvas).resize(((right - left) * FINE, (bottom - top) * FINE), Image.Resampling.BOX)
        draw = ImageDraw.Draw(fine)
        for stroke in strokes:
            points = [((x - left) * FINE, (y - top) * FINE) for x, y in stroke.points]
            colour, radius = COLOURS[stroke.colour], stroke.width * FINE / 2
            draw.line(points, colour, stroke.width * FINE, joint="curve")
            for x, y in (points[0], points[-1]):
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
        picture.paste(fine.reduce(FINE), (left, top))

    def _paint_button(self, draw: ImageDraw.ImageDraw, name: str, box: Box, scene: Scene) -> None:
        red, green, blue = COLOURS[name]
        fill = (red * 3 // 4, green * 3 // 4, blue * 3 // 4) if scene.pressed == name else (red, green, blue)
        draw.rounded_rectangle((*box[:2], box.right - 1, box.bottom - 1), 8, fill)
        if scene.colour == name:
            ring = (box.left + 3, box.top + 3, box.right - 4, box.bottom - 4)
            draw.rounded_rectangle(ring, 6, outline=PAPER, width=3)

    def _draw_still(self) -> Image.Image:
        picture = _draw_wallpaper(self.size).copy()
        width, height = self.size
        bar = max(20, height // 26)
        veil = Image.new("RGB", (width, bar), (18, 20, 44))
        picture.paste(Image.blend(picture.crop((0, 0, width, bar)), veil, 0.55), (0, 0))
        draw = ImageDraw.Draw(picture)
        draw.text((16, bar // 2), "Nexus", (255, 255, 255), self._small, anchor="lm")
        draw.text((width - 16, bar // 2), "synthetic desk", (214, 216, 236), self._small, anchor="rm")
        for box, title in ((self.notes, "Notes"), (self.sketch, "Sketch")):
            _draw_window(picture, box, self._title)
            draw = ImageDraw.Draw(picture)
            middle = (box.centre[0], box.top + self._title // 2)
            draw.text(middle, title, INK, self._small, anchor="mm")
        draw.rectangle((*self.canvas[:2], self.canvas.right - 1, self.canvas.bottom - 1), (255, 255, 255), HAIRLINE)
        return picture


@lru_cache(maxsize=1)
def _draw_wallpaper(size: tuple[int, int]) -> Image.Image:
    """Dusk: a sky from deep blue to apricot, a low sun and its light, and hills that fade into the distance.

    It is by far the slowest to draw, so the last one is kept, for whoever opens another desk of that size.
    """
    width, height = size
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    stops = np.array([0.0, 0.35, 0.62, 0.8, 1.0])
    tones = np.array([(30, 34, 82), (84, 66, 136), (206, 108, 138), (250, 172, 124), (254, 214, 160)])
    sky = np.stack([np.interp(y[:, 0], stops, tones[:, channel]) for channel in range(3)], axis=-1)
    picture = np.repeat(sky[:, None, :], width, axis=1)
    distance = np.hypot((x - 0.555) * width / height, y - 0.66)
    light = np.exp(-((distance / 0.34) ** 2))[..., None] * 0.55
    picture += (np.array((255, 226, 178)) - picture) * light
    edge = np.clip((0.062 - distance) * height, 0, 1)[..., None]
    picture += (np.array((255, 244, 214)) - picture) * edge
    hills = (
        (0.74, 0.035, 5.2, 0.4, (176, 100, 142)),
        (0.81, 0.045, 3.7, 2.1, (120, 74, 132)),
        (0.89, 0.040, 4.6, 4.4, (70, 52, 108)),
        (0.96, 0.030, 6.4, 1.2, (36, 34, 78)),
    )
    for level, rise, waves, phase, tone in hills:
        crest = level + rise * np.sin(waves * x * 2 + phase) + rise * 0.4 * np.sin(waves * x * 5 + phase * 3)
        cover = np.clip((y - crest) * height, 0, 1)[..., None]
        picture += (np.array(tone) - picture) * cover
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def _draw_window(picture: Image.Image, box: Box, title: int) -> None:
    reach = 28
    whole = Box(box.left - reach, box.top - reach, box.right + reach, box.bottom + reach + 10)
    shadow = Image.new("L", (whole.right - whole.left, whole.bottom - whole.top))
    place = (reach, reach + 10, reach + box.right - box.left, reach + 10 + box.bottom - box.top)
    ImageDraw.Draw(shadow).rounded_rectangle(place, 12, 120)
    shadow = shadow.filter(ImageFilter.GaussianBlur(12))
    picture.paste((14, 12, 34), whole[:2], shadow)

    width, height = (box.right - box.left) * FINE, (box.bottom - box.top) * FINE
    window = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(window)
    draw.rectangle((0, 0, width, title * FINE), BAR)
    draw.line((0, title * FINE, width, title * FINE), HAIRLINE, FINE)
    radius = title * FINE // 6
    for place_, name in enumerate(("coral", "amber", "mint")):
        x, y = (title // 2 + place_ * title // 2) * FINE, title * FINE // 2
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), COLOURS[name])
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, width - 1, height - 1), 11 * FINE, 255)
    picture.paste(window.reduce(FINE), box[:2], mask.reduce(FINE))


def _draw_arrow(height: int) -> Image.Image:
    """The pointer, its tip at the top left pixel."""
    fine = 8
    outline = [(0, 0), (0, 17), (4, 13.4), (6.8, 19.6), (9.6, 18.4), (6.9, 12.4), (12.2, 12)]
    scale = height * fine / 20
    points = [(x * scale, y * scale) for x, y in outline]
    arrow = Image.new("RGBA", (round(13 * scale) // fine * fine + fine, (height + 1) * fine), (20, 20, 30, 0))
    ImageDraw.Draw(arrow).polygon(points, (252, 252, 255, 255), outline=(20, 20, 30, 255), width=fine)
    return arrow.reduce(fine)
