"""`nexus-tui connect`: dial first, so that what is wrong is said on the plain terminal; then the screen."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from nexus_protocol.errors import NexusError, UsageError

from .commandline import Settings
from .core.commands import keymap
from .core.known_desks import UnknownDesk
from .core.observer import Silence
from .core.session import Session
from .core.terminal import announce_colours
from .scripting import Doorstep

if TYPE_CHECKING:
    from .app import NexusApp

SWITCH_INTERVAL = 0.0005
"""Seconds until a busy thread lets another run: Python's own 5 ms are a third of a frame at 60 fps, and the decoder's
thread and the screen's wait for each other with every picture."""


async def run_console(settings: Settings, desk: str | None, *, view_only: bool) -> None:
    """Returns when the person quits. Raises UsageError without a terminal, Unreachable and its kin."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("connect needs a terminal; for scripts there is `nexus-tui action`")

    sys.setswitchinterval(SWITCH_INTERVAL)
    keys, problems = keymap(settings.keys)
    notes = [*settings.notes, *map(str, problems)]

    def make_app(session: Session) -> NexusApp:
        return load_screen()(session, keys, view_only=view_only, notes=notes)

    while True:
        session = Session(settings.membership)
        session.observer = Doorstep()
        try:
            app = await _run(session, desk, make_app)
            break
        except UnknownDesk as unknown:  # no connection is held while somebody compares fingerprints
            _ask_to_trust(unknown, accept_new=settings.accept_new)
            session.trust(unknown, by="--accept-new" if settings.accept_new else "asked")
    if app.crash is not None:
        raise _own_error(app.crash)


def load_screen() -> type[NexusApp]:
    """The application; to load it takes most of a second the first time. The terminal is asked for its colours."""
    announce_colours()  # before Textual looks at the environment
    from .app import NexusApp

    return NexusApp


async def _run(session: Session, desk: str | None, make_app: Callable[[Session], NexusApp]) -> NexusApp:
    """Dial, and run the screen until the person quits. Raises UnknownDesk, before there is a screen, and its kin."""
    async with session.dialled():
        if desk is None and len(session.desks) == 1:
            desk = session.desks[0]
        if desk is not None:
            await session.open(desk)
        app = make_app(session)
        session.observer = app.main
        try:
            with _sigterm_quits(app.exit):
                await app.run_async()
        finally:
            session.observer = Silence()
    return app


def _ask_to_trust(unknown: UnknownDesk, *, accept_new: bool) -> None:
    """First contact without an invitation: as with ssh, a person compares. Raises UnknownDesk when they say no."""
    click.echo(f"The desk {unknown.desk} is not known here yet. The key it shows is\n", err=True)
    click.echo(f"    {unknown.fingerprint}\n    {unknown.fingerprint.words}\n", err=True)
    if not accept_new:
        click.echo("Compare it with what `nexus-agent fingerprint` prints at the desk.", err=True)
        with _interruptible():
            if not click.confirm("Trust it from now on?", err=True):
                raise unknown


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl+C ends a question at once: the event loop's own handler would wait for the answer."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


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
