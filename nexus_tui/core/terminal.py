"""What the terminal can show, asked of the terminal itself before the console takes the screen.

An SSH session carries TERM but rarely COLORTERM, so a terminal with 16 million colours passes for one with 256 or
16. DECRQSS (VT510, "Request Selection or Setting") tells: a terminal that kept a 24-bit colour repeats it.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Mapping

PATIENCE = 0.5
"""Seconds to wait for an answer; every terminal answers the question after ours (DA1), so few ever wait."""

_ASK = b"\x1b[48;2;1;2;3m\x1bP$qm\x1b\\\x1b[m\x1b[c"
_KEPT = re.compile(rb"\x1bP1\$r[0-9;:]*48[:;]2[:;]{1,2}1[:;]2[:;]3")
_LAST_ANSWER = re.compile(rb"\x1b\[\?[0-9;]*c")


def tells_truecolor(environment: Mapping[str, str]) -> bool | None:
    """What the environment says of 24-bit colour; None when it says nothing."""
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return True
    if environment.get("TMUX"):
        return True  # tmux takes 24-bit colours, and shows what the terminal around it can
    if environment.get("NO_COLOR") or environment.get("TERM", "dumb") in ("dumb", "linux"):
        return False
    return None


def ask_truecolor(descriptor: int) -> bool:
    """Ask the terminal on this descriptor; False when it does not answer in time or keeps no 24-bit colour."""
    with _raw(descriptor):
        os.write(descriptor, _ASK)
        answer, deadline = b"", time.monotonic() + PATIENCE
        while not _LAST_ANSWER.search(answer):
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            answer += os.read(descriptor, 1024)
    return _KEPT.search(answer) is not None


def announce_colours() -> None:
    """Set COLORTERM for the libraries that draw, where the terminal can do more than the environment says."""
    if tells_truecolor(os.environ) is None and sys.stdin.isatty() and ask_truecolor(sys.stdin.fileno()):
        os.environ["COLORTERM"] = "truecolor"


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
