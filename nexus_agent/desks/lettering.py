"""Text of the synthetic desk, in the font that Pillow brings along.

That font has little more than ASCII. Letters with accents and the euro sign are put together here from glyphs that
it has: the plain letter in its run of text, then the mark over, under or through it.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageDraw, ImageFont

ABOVE = {"\u0300": "`", "\u0301": "´", "\u0302": "^", "\u0303": "~", "\u0308": "..", "\u030a": "°", "\u030b": "´´",
         "\u0307": ".", "\u0304": "-"}  # fmt: skip
BELOW = {"\u0327": ",", "\u0328": ",", "\u0323": "."}
THROUGH = {"€": ("C", "="), "ø": ("o", "/"), "Ø": ("O", "/"), "£": ("L", "-"), "¥": ("Y", "="), "đ": ("d", "-")}
SPELT = {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "–": "-", "—": "-", "¡": "!", "¿": "?", "\u00a0": " "}

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Lettering:
    """Text of one size, in pixels."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.line_height = round(size * 1.45)
        self.font = ImageFont.load_default(size)
        self._marks = ImageFont.load_default(size * 4 / 5)
        self._advances: dict[str, float] = {}

    def width(self, text: str) -> float:
        return self.font.getlength("".join(_base(character) for character in text))

    def advance(self, character: str) -> float:
        """The width of one character, near enough to break lines by."""
        width = self._advances.get(character)
        if width is None:
            width = self._advances[character] = self.width(character)
        return width

    def draw(self, draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, colour: Colour) -> None:
        """Draw one line, its top left corner at `place`."""
        x, y = place
        bases = [_base(character) for character in text]
        draw.text(place, "".join(bases), colour, self.font)
        for index, character in enumerate(text):
            if character.isascii():
                continue
            left = x + self.font.getlength("".join(bases[:index]))
            if character in THROUGH:
                self._through(draw, left, y, bases[index], THROUGH[character][1], colour)
            for mark in unicodedata.normalize("NFD", character)[1:]:
                self._mark(draw, left, y, bases[index], mark, colour)

    def _through(self, draw: ImageDraw.ImageDraw, left: float, y: int, base: str, glyph: str, colour: Colour) -> None:
        letter, mark = _ink(self.font, base), _ink(self._marks, glyph)
        across = (letter[0] + letter[2] - mark[0] - mark[2]) / 2 - self.size * (0.12 if glyph == "=" else 0)
        down = (letter[1] + letter[3] - mark[1] - mark[3]) / 2
        draw.text((left + across, y + down), glyph, colour, self._marks)

    def _mark(self, draw: ImageDraw.ImageDraw, left: float, y: int, base: str, name: str, colour: Colour) -> None:
        glyph = ABOVE.get(name) or BELOW.get(name)
        if glyph is None:
            return
        letter, mark = _ink(self.font, base), _ink(self._marks, glyph)
        gap = self.size * 0.07
        across = (letter[0] + letter[2] - mark[0] - mark[2]) / 2
        down = letter[1] - gap - mark[3] if name in ABOVE else letter[3] - gap - mark[1]
        draw.text((left + across, y + down), glyph, colour, self._marks)


def _ink(font: Font, glyph: str) -> tuple[float, float, float, float]:
    """The box of what is really drawn, from the text's top left corner; `getbbox` reaches down to the baseline."""
    left, top, *_ = font.getbbox(glyph)
    ink = font.getmask(glyph).getbbox() or (0, 0, 0, 0)
    return left + ink[0], top + ink[1], left + ink[2], top + ink[3]


@lru_cache(maxsize=4096)
def _base(character: str) -> str:
    """What stands in the run of text: the character, or the letter that a mark is added to."""
    if character.isascii():
        return character
    if character in THROUGH:
        return THROUGH[character][0]
    if character in SPELT:
        return SPELT[character]
    decomposed = unicodedata.normalize("NFD", character)
    marks = decomposed[1:]
    return decomposed[0] if marks and all(mark in ABOVE or mark in BELOW for mark in marks) else character
