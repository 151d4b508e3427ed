"""A terminal as a person has it: a pty of some size, what it shows, and hands for its keyboard and mouse.

pyte keeps the screen; a thread feeds it, so the program in the terminal never waits for the test to read. A test
waits for what the screen shows, and is woken by each piece of output.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from threading import Condition, Thread
from typing import Any, NamedTuple, Self, TypeVar

import pyte

from .processes import DEADLINE, end_of, make_end, needed

T = TypeVar("T")
Colour = tuple[int, int, int]

LEFT, MIDDLE, RIGHT = 0, 1, 2
WHEEL_UP, WHEEL_DOWN = 64, 65

# Strings to the terminal, and questions and modes that pyte would misread as text or as colours.
_FOREIGN = re.compile(
    r"\x1b[P_^X].*?(?:\x1b\\|\x9c)"  # DCS, APC, PM, SOS up to ST
    r"|\x1b\[[<=>][0-9;:]*[ -/]*[@-~]"  # CSI > u and its kin: the kitty keyboard, modifyOtherKeys
    r"|\x1b\[\??[0-9;:]*[ -/]+[@-~]"  # CSI ? 2026 $ p and its kin
    r"|\x1b\[\?[0-9;:]*[@-gi-kmo-~]",  # CSI ? … but for h, l and n
    re.DOTALL,
)
_UNFINISHED = re.compile(r"\x1b(?:[P_^X](?:[^\x1b]|\x1b(?!\\))*|\[[0-?]*[ -/]*)?\Z")


class Box(NamedTuple):
    """A part of the screen in cells; ``right`` and ``bottom`` are the first outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def columns(self) -> int:
        return self.right - self.left

    @property
    def rows(self) -> int:
        return self.bottom - self.top


class Screen(pyte.Screen):
    """What the terminal shows now."""

    @property
    def text(self) -> str:
        return "\n".join(self.display)

    def shows(self, *words: str) -> bool:
        """Whether each of these stands somewhere on the screen."""
        text = self.text
        return all(word in text for word in words)

    def row_of(self, words: str) -> int:
        """The first row with these words; -1 where they are not."""
        return next((row for row, line in enumerate(self.display) if words in line), -1)

    def tells(self, *words: str) -> bool:
        """Whether the notices at the right edge say each of these, however they are broken into lines."""
        text = "".join("".join(line[-60:].replace("▌", " ").split()) for line in self.display)
        return all("".join(word.split()) in text for word in words)

    @property
    def modes(self) -> set[int]:
        """The DEC private modes that are set: 1049 for the alternate screen, 1006 for the mouse, …"""
        return {number >> 5 for number in self.mode if number % 32 == 0}

    def glyph(self, column: int, row: int) -> str:
        return self.buffer[row][column].data

    def halves(self, column: int, row: int) -> tuple[Colour | None, Colour | None]:
        """The colours of a cell's upper and lower half; None for what is no 24-bit colour, or text."""
        cell = self.buffer[row][column]
        front, back = _colour(cell.fg), _colour(cell.bg)
        pairs = {"▀": (front, back), "▄": (back, front), "█": (front, front), " ": (back, back)}
        return pairs.get(cell.data, (None, None))

    def area_of(self, colours: Iterable[Colour], tolerance: int = 20) -> Box | None:
        """The smallest box with all cells that show one of these colours in either half."""
        wanted = list(colours)
        cells = [
            (column, row)
            for row in range(self.lines)
            for column in range(self.columns)
            if any(near(half, colour, tolerance) for half in self.halves(column, row) for colour in wanted)
        ]
        if not cells:
            return None
        columns, rows = zip(*cells, strict=True)
        return Box(min(columns), min(rows), max(columns) + 1, max(rows) + 1)


def near(shown: Colour | None, wanted: Colour, tolerance: int = 20) -> bool:
    """Whether a colour is the wanted one, as far as video coding and the picture's rounding keep it."""
    return shown is not None and all(abs(a - b) <= tolerance for a, b in zip(shown, wanted, strict=True))


@cache
def _colour(name: str) -> Colour | None:
    if not re.fullmatch("[0-9a-f]{6}", name):
        return None
    return int(name[:2], 16), int(name[2:4], 16), int(name[4:], 16)


class Terminal:
    """A program in a terminal of its own. At the end of the block the program is gone."""

    def __init__(self, command: list[str], environment: Mapping[str, str], size: tuple[int, int]) -> None:
        self._screen = Screen(*size)
        self._stream = pyte.Stream(self._screen)
        self._changed = Condition()
        self._over = False
        self._traceback = False
        self._hung_up = os.eventfd(0)
        self._master, slave = os.openpty()
        self._set_size(*size)
        self.first_settings = termios.tcgetattr(self._master)
        try:
            self.process = subprocess.Popen(
                [needed("setsid"), "--ctty", *command],  # which makes the pty the program's own
                env={**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
                stdin=slave, stdout=slave, stderr=slave,
            )  # fmt: skip
        finally:
            os.close(slave)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    # -- what it shows --------------------------------------------------------------------------------------

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        last = rest = ""
        while data := self._output():
            text = rest + decoder.decode(data)
            unfinished = _UNFINISHED.search(text)
            end = unfinished.start() if unfinished else len(text)
            text, rest = text[:end], text[end:]
            with self._changed:
                self._stream.feed(_FOREIGN.sub("", text))
                self._traceback |= "Traceback" in last + text
                self._changed.notify_all()
            last = (last + text)[-10:]
        with self._changed:
            self._last_settings = termios.tcgetattr(self._master)
            os.close(self._master)  # here, for a close elsewhere would not end the read
            self._over = True
            self._changed.notify_all()

    def _output(self) -> bytes:
        """What comes next; nothing when the program, and whatever it left, or the test has let go of the terminal."""
        data, patience = b"", None
        while len(data) < 65_536:  # a pty gives 4 KiB at a time; what is there already belongs together
            ready, _, _ = select.select([self._master, self._hung_up], [], [], patience)
            if self._master not in ready or self._hung_up in ready:
                break
            try:
                data += os.read(self._master, 65_536)
            except OSError:  # EIO
                break
            patience = 0
        return data

    def wait(self, condition: Callable[[Screen], T | bool | None], what: str) -> T:
        """Wait until the screen fulfils a condition; ``what`` names it. Returns what the condition did."""
        value: T | bool | None = None

        def fulfilled() -> bool:
            nonlocal value
            value = condition(self._screen)
            return bool(value) or self._over

        with self._changed:
            self._changed.wait_for(fulfilled, DEADLINE)
            shown = self._screen.text
        how = f"it ended with status {self.process.poll()}" if self._over else f"{DEADLINE:.0f} s are over"
        assert value, f"waited in vain for {what}; {how}, and the terminal shows:\n{shown}"
        return value  # type: ignore[return-value]  # what is true is a T

    def wait_text(self, *words: str) -> None:
        self.wait(lambda screen: screen.shows(*words), f"the text {words}")

    def wait_told(self, *words: str) -> None:
        self.wait(lambda screen: screen.tells(*words), f"a notice of {words}")

    def wait_gone(self, *words: str) -> None:
        self.wait(lambda screen: not any(screen.shows(word) for word in words), f"the end of the text {words}")

    def look(self, see: Callable[[Screen], T]) -> T:
        """What is to be seen on the screen right now."""
        with self._changed:
            return see(self._screen)

    # -- what the person does -------------------------------------------------------------------------------

    def send(self, keys: str) -> None:
        """What the keyboard sends for these keys."""
        data = keys.encode()
        while data:
            data = data[os.write(self._master, data) :]

    def paste(self, text: str) -> None:
        """A bracketed paste; a terminal sends line ends as returns."""
        self.send(f"\x1b[200~{text.replace(chr(10), chr(13))}\x1b[201~")

    def mouse(self, button: int, column: int, row: int, *, up: bool = False, moving: bool = False) -> None:
        """One report of the mouse (SGR, DEC mode 1006) at a cell counted from 0."""
        self.send(f"\x1b[<{button + 32 * moving};{column + 1};{row + 1}{'m' if up else 'M'}")

    def click(self, column: int, row: int, button: int = LEFT) -> None:
        self.mouse(button, column, row)
        self.mouse(button, column, row, up=True)

    def resize(self, columns: int, rows: int) -> None:
        """Another size; nothing is shown until the program draws it again."""
        with self._changed:
            self._screen.resize(rows, columns)
            self._screen.erase_in_display(2)
        self._set_size(columns, rows)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def line_settings(self) -> list[Any]:
        """How the terminal's line is set (termios), now or at its end: echo, signals, line mode."""
        with self._changed:
            return self._last_settings if self._over else termios.tcgetattr(self._master)

    # -- its end --------------------------------------------------------------------------------------------

    def ended(self) -> int:
        """Wait for the program's own end; its exit status. The screen is complete then."""
        status = end_of(self.process)
        self._reader.join(DEADLINE)
        return status

    def hang_up(self) -> None:
        """The terminal's window is closed."""
        os.eventfd_write(self._hung_up, 1)
        self._reader.join(DEADLINE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        make_end(self.process)
        self._reader.join(DEADLINE)
        self.hang_up()
        os.close(self._hung_up)
        if kind is None:
            assert not self._traceback, self._screen.text
