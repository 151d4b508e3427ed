"""A desk: the desktop an agent serves, as one object, and the ways to open one.

    x11        a display that is there already            (capture.x11, input.xtest)
    virtual    an Xvfb of our own and a program on it     (the same)
    native     Windows, macOS                             (capture.polling, input.pyautogui_input)
    synthetic  drawn by ourselves                         (desks.synthetic)

Everything past this package sees a Capture, an Input and the environment for programs; none of it asks which kind.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from nexus_agent.capture import Capture
from nexus_agent.input import Input
from nexus_protocol.errors import UsageError

SMALLEST, LARGEST = 64, 16_384
"""Pixels of a virtual desk's side."""


@dataclass(kw_only=True, eq=False)
class Desk:
    """An open desk. Its capture's `on_lost` tells when the desktop goes away by itself."""

    kind: str
    capture: Capture
    input: Input
    environment: dict[str, str]
    """What a program started on this desk needs besides the agent's own environment."""
    ending: AsyncExitStack = field(default_factory=AsyncExitStack, repr=False)
    """What `close` ends, newest first."""

    async def close(self) -> None:
        """Release all input, end capture and whatever was started for the desk. Idempotent."""
        await self.ending.aclose()


def parse_size(text: str) -> tuple[int, int]:
    """Read ``1280x800``. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,6})[xX×](\d{1,6})", text.strip(), re.ASCII)
    if match is None:
        raise UsageError(f"{text!r} is not a size; write width and height in pixels, for example 1280x800")
    width, height = int(match[1]), int(match[2])
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise UsageError(f"{text!r}: a desk's sides are {SMALLEST} to {LARGEST} pixels long")
    return width, height


async def open_desk(
    *,
    display: str | None = None,
    virtual: tuple[int, int] | None = None,
    command: Sequence[str] = (),
    synthetic: bool = False,
) -> Desk:
    """Open the desk these options name; without any, the desktop this session is on.

    Raises UsageError for options that exclude each other, Unreachable or NexusError when there is no such desktop.
    """
    if sum((display is not None, virtual is not None, synthetic)) > 1:
        raise UsageError("--display, --virtual and --synthetic exclude each other; give one of them")
    if command and virtual is None:
        raise UsageError("a command is started on a virtual desk only; give --virtual WxH before it")
    if synthetic:
        from .synthetic import SyntheticDesk

        return SyntheticDesk()
    if virtual is not None:
        from .virtual import open_virtual

        return await open_virtual(virtual, command)
    if display is None and sys.platform in ("win32", "darwin"):
        from .native import open_native

        return await open_native()
    from .x11 import open_x11

    return await open_x11(display)
