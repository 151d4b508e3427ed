"""`nexus-tui connect`: dial first, so that what is wrong is said on the plain terminal; then the screen."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from nexus_protocol.errors import NexusError, UsageError

from .commandline import Settings
from .core.commands import keymap
from .core.observer import Silence
from .core.session import Session
from .core.terminal import announce_colours

SWITCH_INTERVAL = 0.0005
"""Seconds until a busy thread lets another run: Python's own 5 ms are a third of a frame at 60 fps, and the decoder's
thread and the screen's wait for each other with every picture."""


async def run_console(settings: Settings, desk: str | None, *, view_only: bool) -> None:
    """Returns when the person quits. Raises UsageError without a terminal, Unreachable and its kin."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("connect needs a terminal; for scripts there is `nexus-tui action`")

    sys.setswitchinterval(SWITCH_INTERVAL)
    keys, problems = keymap(settings.keys)
    session = Session(settings.url, settings.token)
    async with session.dialled():
        if desk is None and len(session.desks) == 1:
            desk = session.desks[0]
        if desk is not None:
            await session.open(desk)
        announce_colours()  # before Textual looks at the environment, and it takes its time to load
        from .app import NexusApp

        app = NexusApp(session, keys, view_only=view_only, notes=[*settings.notes, *map(str, problems)])
        session.observer = app.main
        try:
            with _sigterm_quits(app.exit):
                await app.run_async()
        finally:
            session.observer = Silence()
    if app.crash is not None:
        raise _own_error(app.crash)


def _own_error(crash: Exception) -> NexusError:
    """What to say of a bug: where it is, but nothing of what was in the console's variables."""
    structlog.get_logger().debug("the console failed", exc_info=crash)
    frames = traceback.extract_tb(crash.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return NexusError(
        f"the console met an error of its own: {type(crash).__name__}{where}. The desk is as it was; "
        "please report this, with what -vv adds"
    )


@contextlib.contextmanager
def _sigterm_quits(leave: Callable[[], None]) -> Iterator[None]:
    """A kill ends the console in order: the terminal is restored, the desk let go of.

    Not so a terminal that has gone (SIGHUP): Textual would wait for ever to write to it, and nothing is left to
    restore. The system ends the process then, and the agent lets go of what was held when the link ends.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, leave)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
