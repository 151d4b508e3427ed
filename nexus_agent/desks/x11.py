"""A desk on an X display that is there already."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

from nexus_protocol.errors import Unreachable

from . import Desk

INSTEAD = "use --virtual 1280x800 for a desktop of its own, or --synthetic for a drawn one"


async def open_x11(display: str | None = None) -> Desk:
    """The desk of `display`, else of DISPLAY. Raises Unreachable when no X server answers there."""
    name = display or os.environ.get("DISPLAY")
    if not name:
        raise Unreachable(f"no X display: DISPLAY is not set and no --display was given; {INSTEAD}")
    try:
        return await attach(name, "x11", {})
    except Unreachable as error:
        raise Unreachable(f"{error}; name another with --display, {INSTEAD}") from None


async def attach(display: str, kind: str, environment: dict[str, str]) -> Desk:
    """Connect capture and input to a display. The X libraries read XAUTHORITY from this process's environment."""
    from nexus_agent.capture.x11 import X11Capture
    from nexus_agent.input.xtest import XTestInput

    if "XAUTHORITY" in os.environ:
        environment = {"XAUTHORITY": os.environ["XAUTHORITY"], **environment}
    async with AsyncExitStack() as opened:
        capture = X11Capture(display)
        opened.callback(capture.close)
        injected = XTestInput(display)
        opened.push_async_callback(asyncio.to_thread, injected.close)
        return Desk(
            kind=kind,
            capture=capture,
            input=injected,
            environment={"DISPLAY": display, **environment},
            ending=opened.pop_all(),
        )
